// Parts of a page that are asked for again while AWS is at work: only while somebody looks, and never into a login page.
"use strict";
(() => {
  const say = (text) => {
    for (const status of document.querySelectorAll("[data-refresh-status]")) status.textContent = text;
  };

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.dataset.refresh !== undefined) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    // A signed-out session is redirected to the login page, which has no such part.
    if (event.detail.xhr.responseURL.includes("/login/")) {
      event.detail.shouldSwap = false;
      window.location.reload();
    }
  });
  // What somebody has opened stays open.
  let opened = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    opened = [...event.detail.target.querySelectorAll("details[open][id]")].map((details) => details.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  });
  const failed = (event) => {
    const { xhr } = event.detail;
    const left = xhr && xhr.status ? `answered ${xhr.status}` : "does not answer";
    say(`The site ${left} (${new Date().toLocaleTimeString()}); it is asked again.`);
  };
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, failed);
})();
