// Choosing sessions: all of the page at once, and how many are chosen. The form works without it.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("chosen");
  const all = document.getElementById("choose-all");
  if (!form || !all) return;
  const boxes = [...form.querySelectorAll("input[name=session]")];
  const buttons = form.querySelectorAll("button[type=submit]");
  const count = document.getElementById("chosen-count");

  function show() {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = boxes.length > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    count.textContent = chosen ? `${chosen} chosen` : "";
    for (const button of buttons) button.disabled = chosen === 0;
  }

  all.closest("label").hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  form.addEventListener("change", show);
  // The browser restores what was chosen when somebody comes back.
  window.addEventListener("pageshow", show);
});
