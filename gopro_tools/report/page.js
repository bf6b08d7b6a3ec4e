"use strict";
// Everything shown comes from the JSON in this page; names in it are hostile until proven otherwise,
// so text only ever becomes text nodes and attributes, never markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const SHARP = "sharp", BLURRED = "blurred";

/** Make an element: attributes that start with "on" are listeners, children are nodes or text. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "circle", "rect", "text", "title", "polyline"];
  const element = svg.includes(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A name as one visible line: control and direction characters are shown, not obeyed. */
function shown(name) {
  return String(name)
    .replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
      (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

function option(value, text, chosen) {
  return make("option", { value, selected: value === chosen }, shown(text));
}

function labelled(text, control) {
  return make("label", {}, text, control);
}

/** JSON has no infinity, so it travels as a word. */
function numeric(value) {
  if (value === "inf") return Infinity;
  if (value === "-inf") return -Infinity;
  return typeof value === "number" ? value : null;
}

function digits(value, places) {
  if (value === null) return "–";
  return Number.isFinite(value) ? value.toFixed(places) : value > 0 ? "∞" : "−∞";
}

function signed(value, places) {
  if (value === null) return "–";
  return (value >= 0 ? "+" : "−") + digits(Math.abs(value), places);
}

function seriesColour(index) {
  return `var(--series-${index % 8})`;
}

/** Sort a table by a column; the first press puts the best (or largest) value on top. */
function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const first = head.dataset.first || "descending";
      const other = first === "descending" ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((cell) => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // no number: always last
        if (!("value" in a.cells[column].dataset)) return sign * x.localeCompare(y, "en", { numeric: true });
        return sign * (Number(x) - Number(y) || 0);
      });
      table.tBodies[0].append(...rows);
    });
  });
  return make("div", { class: "scroll", tabindex: "0" }, table);
}

function comparisonTable(data) {
  const head = make("tr", {}, make("th", { scope: "col", "data-first": "ascending" }, make("button", { type: "button" }, "method")));
  for (const heading of data.headings) {
    const better = heading.higher_is_better ? "descending" : "ascending";
    head.append(make("th", { scope: "col", "data-first": better },
      make("button", { type: "button" }, shown(heading.lines[0])),
      ...heading.lines.slice(1).map((line) => make("small", {}, shown(line)))));
  }
  const body = make("tbody");
  for (const row of data.rows) {
    const line = make("tr", {}, make("th", { scope: "row" }, shown(row.method)));
    for (const cell of row.cells) {
      line.append(cell
        ? make("td", { class: cell.best ? "best" : null, title: shown(cell.note), "data-value": numeric(cell.value) }, shown(cell.text))
        : make("td", { "data-value": "" }, "–"));
    }
    body.append(line);
  }
  return makeSortable(make("table", { class: "comparison" }, make("thead", {}, head), body));
}

/** Rows of text as a table with a page of at most so many rows. */
function textTable(columns, rows, caption) {
  const most = 200;
  const body = make("tbody");
  const fill = (count) => body.replaceChildren(...rows.slice(0, count).map((row) =>
    make("tr", {}, ...columns.map((column) => make("td", { class: "text" }, shown(row[column] ?? ""))))));
  fill(most);
  const head = make("tr", {}, ...columns.map((column) =>
    make("th", { scope: "col", class: "text", "data-first": "ascending" }, make("button", { type: "button" }, column))));
  const table = makeSortable(make("table", {}, make("thead", {}, head), body));
  const box = make("details", { open: rows.length <= 20 }, make("summary", {}, caption), table);
  if (rows.length > most) {
    const all = make("button", { type: "button", onclick: () => { fill(rows.length); all.remove(); } }, `show all ${rows.length}`);
    box.append(all);
  }
  return box;
}

function datasetSection(data) {
  const section = make("section", {}, make("h2", {}, "Dataset: ", shown(data.name)));
  const rows = data.splits.flatMap(([split, sequences]) =>
    sequences.map(([sequence, pairs]) => ({ split, sequence, pairs })));
  const total = rows.reduce((sum, row) => sum + row.pairs, 0);
  section.append(make("p", { class: "soft" },
    data.splits.map(([split, sequences]) =>
      `${split}: ${sequences.reduce((sum, [, pairs]) => sum + pairs, 0)} pairs, ${sequences.length} sequence(s)`).join("; ") +
    `. ${total} pairs in all, ${data.rejected.length} windows rejected.`));
  if (data.animation) {
    section.append(make("img", { class: "animation", src: data.animation, alt: "blurred and sharp images of a few pairs in turn" }));
  }
  section.append(textTable(["split", "sequence", "pairs"], rows, `${rows.length} sequences`));
  section.append(make("h3", {}, "Findings of the check"));
  if (data.findings === null) {
    section.append(make("p", { class: "soft" }, "The check was not run (--no-check)."));
  } else if (data.findings.length) {
    section.append(findingsTables(data.findings));
  } else {
    section.append(make("p", {}, "Nothing was found: partners, sizes, hashes, shifts and splits are right."));
  }
  section.append(make("h3", {}, "Rejected windows"));
  if (data.rejected.length) {
    const counts = new Map();
    // Reasons name frames: "scene cut before frame 307" is one kind, whatever the frame.
    const kind = (reason) => reason.replace(/\d+(\.\d+)?/g, "…");
    data.rejected.forEach((row) => counts.set(kind(row.reason), (counts.get(kind(row.reason)) ?? 0) + 1));
    const reasons = [...counts].sort((a, b) => b[1] - a[1]).map(([reason, windows]) => ({ reason, windows }));
    section.append(textTable(["reason", "windows"], reasons, `${reasons.length} kinds of reason`));
    section.append(textTable(Object.keys(data.rejected[0]), data.rejected, `${data.rejected.length} rejected windows`));
  } else {
    section.append(make("p", {}, "None."));
  }
  return section;
}

/** The CSV of a check: how often each kind was found, then everything. */
function checkSection(data) {
  const section = make("section", {}, make("h2", {}, "Check: ", shown(data.name)));
  if (!data.findings.length) {
    section.append(make("p", {}, "Nothing was found."));
    return section;
  }
  section.append(findingsTables(data.findings));
  return section;
}

function findingsTables(findings) {
  const counts = new Map();
  for (const { severity, check } of findings) {
    const kind = JSON.stringify([severity, check]);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const kinds = [...counts].sort((a, b) => b[1] - a[1]).map(([kind, times]) => {
    const [severity, check] = JSON.parse(kind);
    return { severity, check, findings: times };
  });
  const box = make("div", {});
  if (kinds.length < findings.length) {
    box.append(textTable(["severity", "check", "findings"], kinds, `${kinds.length} kinds of finding`));
  }
  box.append(textTable(["severity", "check", "split", "sequence", "name", "message"], findings, `${findings.length} findings`));
  return box;
}

/** Records without scores: what they reached, and how trainings came there. */
function runsSection(runs) {
  const section = make("section", {}, make("h2", {}, "Runs"));
  section.append(textTable(Object.keys(runs[0].facts), runs.map((run) => run.facts), `${runs.length} records`));
  const byMethod = new Map();
  runs.filter((run) => run.curve).forEach(({ facts, curve }) =>
    byMethod.set(facts.method, [...(byMethod.get(facts.method) ?? []), curve]));
  if (byMethod.size) {
    section.append(make("div", { class: "plots" }, ...[...byMethod].map(([method, curves]) => curvesPlot(method, curves))));
  }
  return section;
}

function start() {
  document.getElementById("title").textContent = shown(DATA.title);
  document.getElementById("footer").textContent = DATA.footer;
  const main = document.getElementById("main");
  const nav = document.getElementById("nav");
  main.replaceChildren(...DATA.notes.map((note) => make("p", { class: "note" }, shown(note))));
  const add = (id, text, section) => {
    section.id = id;
    if (text) nav.append(make("a", { href: `#${id}` }, shown(text)));
    main.append(section);
  };
  DATA.tables.forEach((table, i) => {
    const name = DATA.tables.length > 1 ? `Table ${i + 1}` : "Table";
    add(`table-${i}`, name, make("section", {}, make("h2", {}, name), make("p", { class: "soft" }, shown(table.title)), comparisonTable(table)));
  });
  DATA.datasets.forEach((dataset, i) => add(`dataset-${i}`, `Dataset: ${dataset.name}`, datasetSection(dataset)));
  DATA.checks.forEach((check, i) => add(`check-${i}`, `Check: ${check.name}`, checkSection(check)));
  if (DATA.runs.length) add("runs", "Runs", runsSection(DATA.runs));
  const viewer = new Viewer(document.getElementById("viewer"));
  DATA.collections.forEach((data, i) => {
    const set = new ImageSets(data);
    add(`images-${i}`, `Images: ${data.title}`, gallerySection(set, viewer));
    const plots = plotsSection(set, viewer);
    if (plots) add(`plots-${i}`, DATA.collections.length > 1 ? null : "Plots", plots);  // they follow their images
  });
}
