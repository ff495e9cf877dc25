// Tables sort by a click on a header, and pictures open larger.
function sortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  const valueOf = cell => {
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text === "" || isNaN(text) ? text : Number(text);
  };
  function sort(column) {
    const falls = headers[column].getAttribute("aria-sort") === "ascending";
    headers.forEach(one => one.removeAttribute("aria-sort"));
    headers[column].setAttribute("aria-sort", falls ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map(row => [valueOf(row.cells[column]), row]);
    const rank = value => value === "" ? 2 : typeof value === "string" ? 1 : 0;
    rows.sort(([a], [b]) => {
      if (a === "" || b === "" || rank(a) !== rank(b)) return rank(a) - rank(b);
      const order = typeof a === "number" ? a - b : a.localeCompare(b);
      return falls ? -order : order;
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }
  headers.forEach((header, column) => {
    header.tabIndex = 0;
    header.onclick = () => sort(column);
    header.onkeydown = event => { if (event.key === "Enter") sort(column); };
  });
}
document.querySelectorAll("table.sortable").forEach(sortable);

document.querySelectorAll("figure img").forEach(image => {
  image.style.cursor = "zoom-in";
  image.onclick = () => {
    const dialog = document.createElement("dialog");
    dialog.append(image.cloneNode());
    dialog.onclick = () => dialog.close();
    dialog.onclose = () => dialog.remove();
    document.body.append(dialog);
    dialog.showModal();
  };
});
