"use strict";
// Click a heading to sort its table by that column, again to turn the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim();
    if (text === "∞") return Infinity;
    const number = parseFloat(text.replace(/^.*=\s*/, "").replaceAll(",", ""));
    return Number.isNaN(number) ? text : number;
  };
  const empty = (value) => value === "" || value === "–" || value === "-";
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a === b ? 0 : a < b ? -1 : 1;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row, column), row]);
      // Undefined values stay last in both orders.
      rows.sort(([a], [b]) => empty(a) - empty(b) || turn * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
