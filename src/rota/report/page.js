"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const tools = { displayModeBar: true, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };

  // The charts are written in the light palette; a dark system gets the partner of each colour.
  function themed(figure) {
    let text = JSON.stringify(figure);
    if (dark.matches) data.light.forEach((colour, i) => { text = text.replaceAll(colour, data.dark[i]); });
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
    return JSON.parse(text.replaceAll(data.ink, ink));
  }

  function draw(place, figure) {
    place.hidden = !figure;
    if (!figure) return;
    const { data: traces, layout } = themed(figure);
    if (dark.matches) Object.assign(layout, { hoverlabel: { bgcolor: "#000", font: { color: "#fff" } }, modebar: { bgcolor: "rgba(0,0,0,0)", color: "#a3adba" } });
    else layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "#5b6573" };
    place.style.height = `${layout.height}px`;
    Plotly.react(place, traces, layout, { ...config, ...(place.dataset.slot === "run" ? tools : {}) });
  }

  function choose(select, figures) {
    const chosen = figures[select.value] || {};
    for (const place of select.closest("section").querySelectorAll(".chart")) {
      draw(place, chosen[place.dataset.slot]);
      place.closest("figure").hidden = !chosen[place.dataset.slot];
    }
  }

  function redraw() {
    for (const select of document.querySelectorAll("select[data-figures]")) choose(select, data[select.dataset.figures]);
  }

  // The sections of charts always show the same group.
  function follow(changed) {
    for (const select of document.querySelectorAll(`select[data-figures="${changed.dataset.figures}"]`)) {
      select.value = changed.value;
      choose(select, data[select.dataset.figures]);
    }
  }

  function sort(button) {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent;
    const numeric = head.classList.contains("number");
    const order = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, undefined, { numeric: true });
    const rows = [...body.rows].map((row) => [key(row), row]);
    const [known, missing] = [rows.filter(([k]) => k !== ""), rows.filter(([k]) => k === "")];
    known.sort(([a], [b]) => (down ? order(b, a) : order(a, b)));
    body.append(...[...known, ...missing].map(([, row]) => row));
  }

  for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button));
  for (const select of document.querySelectorAll("select[data-figures]")) select.addEventListener("change", () => follow(select));
  dark.addEventListener("change", redraw);
  redraw();
})();
