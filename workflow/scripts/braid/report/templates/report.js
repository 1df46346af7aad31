"use strict";
// Tables can be sorted and filtered where scripts run; without them they read the same.
(() => {
  const numberIn = (text) => parseFloat(text.replace(/[,\s%]/g, ""));
  const sortBy = (table, header, column) => {
    const numeric = header.classList.contains("n");
    const before = header.getAttribute("aria-sort");
    // numbers start with the largest, names with the first
    const ascending = before ? before === "descending" : !numeric;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const sign = ascending ? 1 : -1;
    const compare = (a, b) => {
      if (!numeric) return sign * a.localeCompare(b, undefined, { numeric: true });
      const [x, y] = [numberIn(a), numberIn(b)];
      // what is missing stays at the end
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    };
    const body = table.tBodies[0];
    const text = (row) => row.cells[column].textContent.trim();
    body.append(...Array.from(body.rows).sort((a, b) => compare(text(a), text(b))));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = header.textContent;
      button.title = "Sort by this column";
      button.addEventListener("click", () => sortBy(table, header, column));
      header.replaceChildren(button);
    });
  }
  for (const table of document.querySelectorAll("table.filter")) {
    const label = document.createElement("label");
    label.className = "filter-box";
    label.textContent = "Show rows with";
    const input = document.createElement("input");
    input.type = "search";
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
      }
    });
    label.append(input);
    table.parentElement.before(label);
  }
  // a long list of contents would push the answer off a small screen
  if (window.matchMedia("(max-width: 66rem)").matches) {
    document.querySelector(".contents").open = false;
  }
})();
