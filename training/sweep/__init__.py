"""The lesson's tuning advice as a search that many workers can share."""
