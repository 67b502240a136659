// Asks for what is newer than the newest shown, while the tab is visible and nobody has paused it.
"use strict";
(() => {
  const MAX_ROWS = 500;
  const MAX_DELAY = 30000;
  const PATIENCE = 5000;

  function start() {
    const box = document.getElementById("follow");
    if (!box) return;
    const list = document.getElementById("entries");
    const status = box.querySelector("[role=status]");
    const button = box.querySelector("button");
    let paused = false;
    let failures = 0;
    let over = "";

    const part = () => document.getElementById("live");
    const say = (text, live) => {
      if (status.textContent !== text) status.textContent = text;
      status.classList.toggle("live", Boolean(live));
    };

    function next() {
      if (over || !part() || part().dataset.over) {
        button.hidden = true;
        say(over || part()?.dataset.over || "Not followed", false);
        return;
      }
      const every = Number(part().dataset.every);
      setTimeout(look, failures ? Math.min(every * 2 ** failures, MAX_DELAY) : every);
    }

    async function look() {
      if (paused || document.hidden) return next();
      const before = list.childElementCount;
      let left = "";
      const asked = new Date();
      const failed = (event) => {
        const { xhr } = event.detail;
        left = xhr && xhr.status ? `answered ${xhr.status}` : "does not answer";
        // To ask again would be answered alike: the place was lost, or the permission.
        if (xhr && [400, 403, 404].includes(xhr.status)) over = "Not followed any more: load the page again";
      };
      const around = part().parentElement;
      for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) around.addEventListener(name, failed);
      try {
        await window.htmx.ajax("GET", part().dataset.url, { source: part(), target: part(), swap: "outerHTML" });
      } catch {
        left = left || "does not answer";
      }
      for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) around.removeEventListener(name, failed);
      failures = left ? failures + 1 : 0;
      if (left) {
        say(`The site ${left} (${asked.toLocaleTimeString()}); it is asked again`, false);
      } else {
        const added = list.childElementCount - before;
        if (added > 0) say(`Live: ${added} new`, true);
        else if (!status.textContent.startsWith("Live: ")) say("Live", true);
        document.getElementById("no-entries")?.remove();
        window.enhance(list);
        while (list.childElementCount > MAX_ROWS) list.lastElementChild.remove();
      }
      next();
    }

    button.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.setAttribute("aria-pressed", String(paused));
      button.querySelector("span:last-child").textContent = paused ? "Go on" : "Pause";
      button.querySelector(".material-symbols-outlined").textContent = paused ? "play_arrow" : "pause";
      say(paused ? "Paused" : "Live", !paused);
    });
    window.htmx.config.timeout = PATIENCE;
    say("Live", true);
    next();
  }

  document.addEventListener("DOMContentLoaded", start);
})();
