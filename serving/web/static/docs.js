"use strict";

// `validatorUrl`: else Swagger UI asks validator.swagger.io about a document that the world can read
document.addEventListener("DOMContentLoaded", () => {
  /** @type {any} */ (window).SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });
});
