// @ts-check
/** Joins the parts of the page. */

const answer = await fetch("/v1/models");
/** @type {{ models: { name: string }[] }} */
const { models } = await answer.json();
const place = document.getElementById("models");
if (place) {
  place.textContent = models.map((model) => model.name).join(", ");
}
