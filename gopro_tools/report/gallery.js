/** One collection of images, with the scores and facts of each. */
class ImageSets {
  constructor(data) {
    this.data = data;
    this.methods = data.methods;
    this.metrics = data.metrics;
    this.size = data.keys.length;
  }

  score(method, metric, index) {
    return numeric(this.data.scores[metric]?.[method]?.[index] ?? null);
  }

  fact(name, index) {
    return numeric(this.data.facts[name]?.[index] ?? null);
  }

  /** What a check found in an image. */
  remarks(index) {
    return this.data.remarks[index] ?? [];
  }

  metric(name) {
    return this.metrics.find((metric) => metric.name === name);
  }

  /** Score minus that of the blurred input; two infinite scores differ by nothing. */
  difference(method, metric, index) {
    const [own, before] = [this.score(method, metric, index), this.score(BLURRED, metric, index)];
    if (own === null || before === null) return null;
    return own === before ? 0 : own - before;
  }

  /** Better than the blurred input by so much: positive whatever the metric's direction. */
  gain(method, metric, index) {
    const difference = this.difference(method, metric, index);
    if (difference === null || this.metric(metric).higher_is_better) return difference;
    return difference === 0 ? 0 : -difference;
  }

  /** Methods with scores, other than the sharp and the blurred images themselves. */
  restored(metric) {
    return Object.keys(this.data.scores[metric] ?? {}).filter((m) => m !== SHARP && m !== BLURRED);
  }

  url(method, index) {
    return this.data.urls[method]?.[index] ?? null;
  }
}

const PAGE_SIZE = 24;

function gallerySection(set, viewer) {
  const section = make("section", {}, make("h2", {}, "Images: ", shown(set.data.title)));
  section.append(...set.data.notes.map((note) => make("p", { class: "note" }, shown(note))));
  if (set.data.animation) {
    section.append(make("img", { class: "animation", src: set.data.animation, alt: "a piece of the video, blurred beside restored" }));
  }
  const metric = set.metrics[0]?.name;
  const state = { metric, method: set.restored(metric)[0], sort: "name", filter: "", page: 0 };
  const list = make("ul", { class: "gallery" });
  const place = make("span", { role: "status" });
  let order = [];

  const orders = () => {
    const by = [["name", "name"]];
    if (state.method) by.push(["gain", "gain, largest first"], ["loss", "gain, smallest first"]);
    if (Object.keys(set.data.remarks).length) by.push(["remarks", "findings of the check, most first"]);
    if (state.metric) by.push(["worst", `${state.metric} of the blurred input, worst first`]);
    for (const name of Object.keys(set.data.facts)) by.push([`fact:${name}`, `${name}, largest first`]);
    return by;
  };
  const keyOf = (index) => {
    if (state.sort === "gain") return negated(set.gain(state.method, state.metric, index));
    if (state.sort === "loss") return set.gain(state.method, state.metric, index);
    if (state.sort === "worst") {
      const value = set.score(BLURRED, state.metric, index);
      return set.metric(state.metric).higher_is_better ? value : negated(value);
    }
    if (state.sort === "remarks") return negated(set.remarks(index).length);
    return negated(set.fact(state.sort.slice(5), index));
  };
  const show = () => {
    const words = state.filter.toLowerCase();
    order = [...Array(set.size).keys()].filter((i) => set.data.keys[i].toLowerCase().includes(words));
    if (state.sort !== "name") {
      const keys = new Map(order.map((i) => [i, keyOf(i)]));
      order.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return x === y ? a - b : x - y;
      });
    }
    const pages = Math.max(1, Math.ceil(order.length / PAGE_SIZE));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const from = state.page * PAGE_SIZE;
    list.replaceChildren(...order.slice(from, from + PAGE_SIZE).map((index) =>
      make("li", {}, card(set, state, index, () => viewer.open(set, order, order.indexOf(index), state.method)))));
    place.textContent = `${order.length} images, page ${state.page + 1} of ${pages}`;
    back.disabled = state.page === 0;
    next.disabled = state.page === pages - 1;
  };
  const change = (part) => (event) => { state[part] = event.target.value; state.page = 0; show(); };
  const turn = (by) => () => { state.page += by; show(); };
  const back = make("button", { type: "button", onclick: turn(-1) }, "◂ back");
  const next = make("button", { type: "button", onclick: turn(1) }, "next ▸");

  const controls = make("div", { class: "controls" });
  const sort = make("select", { class: "sort", onchange: change("sort") });
  const fillSort = () => sort.replaceChildren(...orders().map(([value, text]) => option(value, text, state.sort)));
  if (state.method) {
    controls.append(labelled("method", make("select", { class: "method", onchange: change("method") },
      ...set.restored(metric).map((m) => option(m, m, state.method)))));
  }
  if (set.metrics.length) {
    controls.append(labelled("metric", make("select", { class: "metric", onchange: (event) => { change("metric")(event); fillSort(); } },
      ...set.metrics.map((m) => option(m.name, m.name, state.metric)))));
  }
  fillSort();
  controls.append(labelled("sorted by", sort),
    labelled("name contains", make("input", { type: "search", oninput: change("filter") })), back, next, place);
  section.append(controls, list);
  show();
  return section;
}

function negated(value) {
  return value === null ? null : -value;
}

function card(set, state, index, open) {
  const key = set.data.keys[index];
  const thumb = set.data.thumbs[index];
  const lines = [];
  if (state.metric) {
    const places = set.metric(state.metric).digits;
    const before = set.score(BLURRED, state.metric, index);
    lines.push(make("span", {}, `blurred ${digits(before, places)}`));
    if (state.method) {
      const gain = set.gain(state.method, state.metric, index);
      const difference = set.difference(state.method, state.metric, index);
      lines.push(" ", make("span", { class: gain === null ? null : gain >= 0 ? "up" : "down" }, signed(difference, places)));
    }
  }
  for (const name of Object.keys(set.data.facts).filter((fact) => fact.endsWith("_px")).slice(0, 1)) {
    const value = set.fact(name, index);
    if (value !== null) lines.push(make("span", { class: "soft" }, ` ${name} ${Number(value.toPrecision(4))}`));
  }
  const remarks = set.remarks(index);
  if (remarks.length) {
    lines.push(make("span", { class: "remarks", title: remarks.map(shown).join("\n") }, ` ⚠ ${remarks.length} finding(s)`));
  }
  const picture = make("span", { class: "thumb" });
  if (thumb) picture.append(make("img", { src: thumb, alt: "", loading: "lazy", decoding: "async" }));
  return make("button", { type: "button", class: "card", "data-key": key, disabled: !hasImages(set, index), onclick: open },
    picture, make("span", { class: "text", style: null }, make("b", {}, shown(key)), ...lines));
}

function hasImages(set, index) {
  return set.methods.some((method) => set.url(method, index));
}
