/** Starts Swagger UI on the API documentation page. */

const bundle = /** @type {any} */ (window).SwaggerUIBundle;

bundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  layout: "BaseLayout",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  validatorUrl: null,
  presets: [bundle.presets.apis, bundle.SwaggerUIStandalonePreset],
});
