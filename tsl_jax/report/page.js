"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)").matches;
  // These buttons alone: others of Plotly's lead to the network.
  const buttons = [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]];
  const config = { responsive: true, displaylogo: false, modeBarButtons: buttons };
  // On a dark page lines are lighter.
  const lighter = [["#0072B2", "#4FA3E3"], ["#D55E00", "#F0803C"], ["#009E73", "#2EC49A"], ["rgba(0,114,178", "rgba(79,163,227"],
    ["rgba(213,94,0", "rgba(240,128,60"], ["rgba(0,158,115", "rgba(46,196,154"]];

  // Colours of the page for what a figure leaves open.
  const themed = (figure) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const layout = structuredClone(figure.layout);
    Object.assign(layout, { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true });
    layout.font = { color: colour("--ink"), size: 12, family: getComputedStyle(document.body).fontFamily };
    layout.hoverlabel = { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--ink") } };
    layout.modebar = { color: colour("--soft"), activecolor: colour("--link"), bgcolor: "rgba(0,0,0,0)" };
    if (touch) layout.dragmode = false;
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      Object.assign(layout[name], { gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--line") });
    }
    let traces = figure.data;
    if (dark.matches) {
      traces = JSON.parse(lighter.reduce((text, [from, to]) => text.replaceAll(from, to), JSON.stringify(traces)));
    }
    const data = traces.map((trace) => {
      if (!(trace.meta && trace.meta.ink)) return trace;
      const copy = { ...trace };
      if (trace.mode !== "markers") copy.line = { ...trace.line, color: colour("--ink") };
      if (trace.mode !== "lines") copy.marker = { ...trace.marker, color: colour("--ink") };
      return copy;
    });
    return [data, layout];
  };

  const drawn = new Map();
  const draw = (id, figure) => {
    drawn.set(id, figure);
    return Plotly.react(id, ...themed(figure), config);
  };
  dark.addEventListener("change", () => drawn.forEach((figure, id) => draw(id, figure)));

  // Figures are drawn when they come near the screen, and all of them before printing.
  const figures = read("figure-data");
  const waiting = new Set(Object.keys(figures));
  const show = (id) => { if (waiting.delete(id)) draw(id, figures[id]); };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); show(entry.target.id); }
  }, { rootMargin: "600px" });
  waiting.forEach((id) => near.observe(document.getElementById(id)));
  window.addEventListener("beforeprint", () => [...waiting].forEach(show));

  // The table of tokens.
  const tokens = read("token-data");
  const table = document.getElementById("token-table");
  const perPage = 50;
  let order = tokens.rows.map((_, index) => index), page = 0, sorted = null, ascending = true;
  const filters = tokens.columns.map(() => "");
  const element = (name, text, parent) => {
    const made = document.createElement(name);
    if (text !== null) made.textContent = text;
    return parent.appendChild(made);
  };

  const condition = (text, number) => {
    text = text.trim();
    if (!text) return null;
    const range = number && /^(-?[\d.e+]+)\s*\.\.\s*(-?[\d.e+]+)$/i.exec(text);
    if (range) return (value) => value !== null && value >= Number(range[1]) && value <= Number(range[2]);
    const compared = number && /^(>=|<=|>|<|=)\s*(-?[\d.]+(?:e[+-]?\d+)?)$/i.exec(text);
    if (compared) {
      const limit = Number(compared[2]);
      const test = { ">": (v) => v > limit, "<": (v) => v < limit, ">=": (v) => v >= limit, "<=": (v) => v <= limit, "=": (v) => v === limit };
      return (value) => value !== null && test[compared[1]](value);
    }
    const wanted = text.toLowerCase();
    return (value) => value !== null && String(value).toLowerCase().includes(wanted);
  };

  const arrange = () => {
    const tests = filters.map((text, column) => condition(text, tokens.columns[column].number));
    order = tokens.rows.map((_, index) => index)
      .filter((index) => tests.every((test, column) => test === null || test(tokens.rows[index][column])));
    if (sorted !== null) {
      const sign = ascending ? 1 : -1;
      order.sort((one, two) => {
        const a = tokens.rows[one][sorted], b = tokens.rows[two][sorted];
        if (a === null || b === null) return (a === null) - (b === null);  // what is missing stays last
        return sign * (typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0) || one - two;
      });
    }
    page = 0;
    fill();
  };

  const shown = (value, column) => value === null ? "–"
    : typeof value !== "number" ? value
    : Number.isInteger(value) && tokens.columns[column].name !== "token id" ? value.toLocaleString("en-US")
    : String(value);

  const fill = () => {
    const body = table.tBodies[0];
    body.replaceChildren();
    for (const index of order.slice(page * perPage, (page + 1) * perPage)) {
      const row = element("tr", null, body);
      row.tabIndex = 0;
      tokens.rows[index].forEach((value, column) => {
        const cell = element("td", shown(value, column), row);
        cell.dir = "auto";
        if (tokens.columns[column].number) cell.className = "number";
      });
      row.addEventListener("click", () => select(row, index));
      row.addEventListener("keydown", (event) => { if (event.key === "Enter") select(row, index); });
    }
    const pages = Math.max(1, Math.ceil(order.length / perPage));
    document.getElementById("page").textContent = `page ${page + 1} of ${pages}`;
    document.getElementById("previous").disabled = page === 0;
    document.getElementById("next").disabled = page >= pages - 1;
    document.getElementById("token-count").textContent =
      `${order.length.toLocaleString("en-US")} of ${tokens.rows.length.toLocaleString("en-US")} rows match.`;
    for (const cell of table.tHead.rows[0].cells) {
      const mine = cell.cellIndex === sorted;
      cell.setAttribute("aria-sort", mine ? (ascending ? "ascending" : "descending") : "none");
      cell.querySelector("span").textContent = mine ? (ascending ? " ▲" : " ▼") : "";
    }
  };

  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  const select = (row, index) => {
    for (const other of table.tBodies[0].rows) other.setAttribute("aria-selected", String(other === row));
    const place = document.getElementById("token-plot");
    place.hidden = false;
    const data = [{ x: tokens.axis, y: tokens.fitted[index], mode: "lines", name: "fit", line: { color: "#D55E00", width: 2 } }];
    if (tokens.losses) {
      data.unshift({ x: tokens.axis, y: tokens.losses[index], mode: "markers", name: "losses", marker: { symbol: "circle-open", size: 6 }, meta: { ink: true } });
    }
    const axis = (title, type) => ({ title: { text: escaped(title) }, type, ...(type === "log" ? { tickformat: "~s" } : {}) });
    const layout = {
      height: 320, margin: { l: 58, r: 12, t: 64, b: 48 },
      title: { text: `token ${tokens.rows[index][0].toLocaleString("en-US")}`, font: { size: 14 }, x: 0.02, y: 0.96, yanchor: "top" },
      xaxis: axis(tokens.axisName, tokens.scale), yaxis: axis("loss (nat)", "linear"), showlegend: true,
      legend: { orientation: "h", yanchor: "bottom", y: 1, x: 0, xanchor: "left" },
    };
    draw("token-plot", { data, layout });
  };

  const heads = element("tr", null, table.tHead), fields = element("tr", null, table.tHead);
  tokens.columns.forEach((column, index) => {
    const head = element("th", null, heads);
    head.scope = "col";
    if (column.number) head.className = "number";
    const button = element("button", column.name, head);
    button.type = "button";
    element("span", "", head);
    button.addEventListener("click", () => {
      ascending = sorted === index ? !ascending : true;
      sorted = index;
      arrange();
    });
    const field = element("input", null, element("td", null, fields));
    field.type = "search";
    field.setAttribute("aria-label", `filter ${column.name}`);
    field.addEventListener("input", () => { filters[index] = field.value; arrange(); });
  });
  document.getElementById("previous").addEventListener("click", () => { page -= 1; fill(); });
  document.getElementById("next").addEventListener("click", () => { page += 1; fill(); });
  fill();
})();
