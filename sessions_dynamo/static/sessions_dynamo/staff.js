// What the staff pages gain where scripts run: times in the viewer's zone, and buttons that copy. Nothing needs it.
"use strict";

function localTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const utc = element.title;
    const local = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    element.title = `${local} (${zone})\n${utc}`;
    if (element.classList.contains("absolute-time")) {
      const fraction = String(at.getMilliseconds()).padStart(3, "0");
      element.textContent = `${at.toLocaleDateString(undefined, { dateStyle: "medium" })} ${at.toLocaleTimeString(undefined, { hour12: false })}.${fraction}`;
    }
    element.dataset.local = "yes";
  }
}

function copyButtons(root) {
  for (const button of root.querySelectorAll("button.copy[hidden]")) {
    // Browsers have no clipboard for a page that came over plain HTTP from elsewhere.
    if (!navigator.clipboard) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      const icon = button.querySelector(".material-symbols-outlined");
      icon.textContent = "check";
      setTimeout(() => { icon.textContent = "content_copy"; }, 1500);
    });
  }
}

function enhance(root) {
  localTimes(root);
  copyButtons(root);
}

document.addEventListener("DOMContentLoaded", () => enhance(document));
// htmx leaves a part as it is when the answer is an error; these say in its place what is wrong and what to do.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status >= 400 && event.detail.target.matches("[data-shows-problems]")) event.detail.shouldSwap = true;
});
document.addEventListener("htmx:afterSettle", (event) => enhance(event.target.parentElement || document));
