// The dashboard's charts, drawn from the tables beneath them, and what a part says that did not load.
"use strict";

function localStep(time, step) {
  const at = new Date(time.dateTime);
  const hours = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return step < 3600 ? hours : `${at.toLocaleDateString(undefined, { weekday: "short" })} ${hours}`;
}

function colours() {
  const style = getComputedStyle(document.querySelector(".staff"));
  return Object.fromEntries(["bar", "mark", "line", "subtle", "surface"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function draw(card) {
  const table = card.querySelector("table[data-step]");
  const step = Number(table.dataset.step);
  for (const time of card.querySelectorAll("time.step")) time.textContent = localStep(time, step);
  const plot = card.querySelector(".plot");
  if (!plot || !window.Chart) return;
  const colour = colours();
  const rows = [...table.tBodies[0].rows];
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const bars = { backgroundColor: colour.bar, borderRadius: 2, pointStyle: "rect", order: 1 };
  // Told from the bars by its shape as well: a triangle where there is one, and nothing at 0.
  const marks = {
    type: "line", showLine: false, backgroundColor: colour.mark, borderColor: colour.surface, order: 0,
    pointStyle: "triangle", pointRadius: (point) => (point.raw ? 6 : 0), pointHoverRadius: 8,
  };
  const datasets = names.map((label, number) => ({
    label,
    data: rows.map((row) => row.cells[number + 1].dataset.value ?? null).map((value) => (value === null ? null : Number(value))),
    ...(number ? marks : bars),
  }));
  plot.hidden = false;
  const canvas = plot.querySelector("canvas");
  window.Chart.getChart(canvas)?.destroy();
  new window.Chart(canvas, {
    type: "bar",
    data: { labels: rows.map((row) => row.cells[0].textContent.trim()), datasets },
    options: {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { grid: { display: false }, border: { color: colour.line }, ticks: { color: colour.subtle, maxTicksLimit: 6, maxRotation: 0 } },
        y: { beginAtZero: true, grid: { color: colour.line }, border: { display: false }, ticks: { color: colour.subtle, precision: 0, maxTicksLimit: 5 } },
      },
      plugins: { legend: { display: names.length > 1, align: "end", labels: { color: colour.subtle, usePointStyle: true, boxHeight: 8 } } },
    },
  });
}

function drawAll(root) {
  const cards = [...root.querySelectorAll(".chart-card")];
  if (root.matches?.(".chart-card")) cards.push(root);
  cards.forEach(draw);
}

function failed(event) {
  const part = event.target.closest?.(".part[hx-get]");
  if (!part) return;
  part.removeAttribute("aria-busy");
  const link = Object.assign(document.createElement("a"), { href: part.getAttribute("hx-get"), textContent: "Open it by itself" });
  part.querySelector(".part-state").replaceChildren("This did not load. ", link);
}

document.addEventListener("DOMContentLoaded", () => {
  drawAll(document);
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.body.addEventListener(name, failed);
  document.body.addEventListener("htmx:load", (event) => drawAll(event.detail.elt));
  // Dark or light: the colours are others.
  new MutationObserver(() => drawAll(document)).observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
});
