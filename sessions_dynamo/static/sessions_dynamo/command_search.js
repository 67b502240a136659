// The command search: Enter opens the first result where none was chosen with the arrows, as soon as it is there.
"use strict";

(() => {
  let shown = "";
  let isWanted = false;

  const first = () => document.querySelector("#command-results-list a");
  const open = () => window.location.assign(first().href);

  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "search-input-command") return;
    isWanted = false;
    if (event.key !== "Enter" || document.querySelector("#command-results-list li.active")) return;
    event.preventDefault();
    // The shell's own handler takes it that something was chosen.
    event.stopPropagation();
    if (shown === event.target.value && first()) open();
    else isWanted = true;
  }, true);

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id !== "command-results") return;
    shown = document.getElementById("search-input-command").value;
    if (isWanted && first()) open();
  });
})();
