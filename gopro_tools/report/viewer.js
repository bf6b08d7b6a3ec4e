const ZOOMS = [1, 2, 4, 8];

/** The dialog that compares the methods on one image. */
class Viewer {
  constructor(dialog) {
    this.dialog = dialog;
    this.split = 0.5;
    this.centre = [0.5, 0.5];
    this.zoom = 4;
    this.boxes = false;
    this.dialog.addEventListener("keydown", (event) => this.key(event, true));
    this.dialog.addEventListener("keyup", (event) => this.key(event, false));
    window.addEventListener("resize", () => this.dialog.open && this.layOut());
    window.addEventListener("blur", () => this.dialog.open && this.holdSharp(false));
  }

  open(set, order, at, method) {
    Object.assign(this, { set, order, at });
    const usable = set.methods.filter((name) => set.data.urls[name]);
    this.left = usable.includes(BLURRED) ? BLURRED : usable[0];
    this.right = [method, usable.find((m) => m !== SHARP && m !== BLURRED), SHARP].find((m) => usable.includes(m)) ?? usable[0];
    this.usable = usable;
    this.build();
    if (!this.dialog.open) this.dialog.showModal();
    this.stage.focus({ preventScroll: true });
    this.load();
  }

  build() {
    const choose = (side) => make("select", { class: side, onchange: (event) => { this[side] = event.target.value; this.load(); } },
      ...this.usable.map((m) => option(m, m, this[side])));
    const button = (text, attributes, ...listener) => make("button", { type: "button", ...attributes, onclick: listener[0] }, text);
    this.title = make("h2", {});
    this.previous = button("◂ previous", { class: "previous" }, () => this.step(-1));
    this.next = button("next ▸", { class: "next" }, () => this.step(1));
    this.sharpButton = make("button", { type: "button", class: "hold", "aria-pressed": "false",
      onpointerdown: () => this.holdSharp(true), onpointerup: () => this.holdSharp(false),
      onpointerleave: () => this.holdSharp(false), onpointercancel: () => this.holdSharp(false) }, "hold for sharp");
    this.boxButton = button("boxes", { class: "boxes", "aria-pressed": String(this.boxes) }, () => this.toggleBoxes());
    this.zoomSelect = make("select", { class: "zoom", onchange: (event) => { this.zoom = Number(event.target.value); this.drawZooms(); } },
      ...ZOOMS.map((z) => make("option", { value: z, selected: z === this.zoom }, z === 1 ? "1:1" : `${z}x`)));
    this.under = make("img", { alt: "", draggable: "false" });
    this.over = make("img", { alt: "", draggable: "false" });
    this.truth = make("img", { alt: "", draggable: "false", hidden: true });
    this.overlays = { left: make("svg"), right: make("svg") };
    this.tags = { left: make("span", { class: "tag" }), right: make("span", { class: "tag" }) };
    this.handle = make("div", { class: "handle" });
    this.lens = make("div", { class: "lens" });
    this.stage = make("div", { class: "stage", tabindex: "0" }, this.under, this.over, this.overlays.left, this.overlays.right,
      this.truth, this.handle, this.tags.left, this.tags.right, this.lens);
    this.range = make("input", { type: "range", class: "range", min: 0, max: 1000, "aria-label": "where left and right meet",
      oninput: (event) => { this.split = event.target.value / 1000; this.placeSplit(); } });
    this.zooms = make("div", { class: "zooms" });
    this.scores = make("div", { class: "scores" });
    this.handle.addEventListener("pointerdown", (event) => { this.handle.setPointerCapture(event.pointerId); this.dragging = true; event.stopPropagation(); });
    this.handle.addEventListener("pointermove", (event) => { if (this.dragging) { this.split = this.within(event)[0]; this.placeSplit(); } });
    for (const end of ["pointerup", "pointercancel"]) this.handle.addEventListener(end, () => { this.dragging = false; });
    const aim = (event) => { if (!this.dragging) { this.centre = this.within(event); this.drawZooms(); } };
    this.stage.addEventListener("pointermove", (event) => event.pointerType === "mouse" && aim(event));
    this.stage.addEventListener("click", aim);
    const hasSharp = this.usable.includes(SHARP);
    const note = this.boxNote();
    this.dialog.replaceChildren(
      make("div", { class: "bar" }, this.title, labelled("left", choose("left")), labelled("right", choose("right")),
        labelled("zoom", this.zoomSelect), hasSharp ? this.sharpButton : null, this.set.data.boxes ? this.boxButton : null,
        this.previous, this.next, button("close", { class: "close" }, () => this.dialog.close())),
      this.stage, this.range, ...(note ? [note] : []), make("h3", {}, "The same region of all methods"), this.zooms,
      make("h3", {}, this.set.metrics.length ? "Scores of this image" : "About this image"), this.scores,
      make("p", { class: "soft" }, "Keys: ", ...[["←", "previous"], ["→", "next"], ["s", "hold for the sharp image"], ["m", "next method"],
        ["z", "zoom"], ["b", "boxes"], ["[ ]", "move the slider"], ["shift+arrows", "move the region"], ["Esc", "close"]]
        .flatMap(([key, what]) => [make("kbd", {}, key), ` ${what}  `])));
    this.under.addEventListener("load", () => this.layOut());
  }

  boxNote() {
    if (!this.set.data.boxes) return null;
    return make("p", { class: "soft" }, "Boxes: solid green matched, dashed orange missed, dotted pink false. ", shown(this.set.data.boxes.note));
  }

  within(event) {
    const area = this.stage.getBoundingClientRect();
    const clip = (value) => Math.min(1, Math.max(0, value));
    return [clip((event.clientX - area.left) / area.width), clip((event.clientY - area.top) / area.height)];
  }

  get index() {
    return this.order[this.at];
  }

  step(by) {
    const at = this.at + by;
    if (at < 0 || at >= this.order.length || !hasImages(this.set, this.order[at])) return;
    this.at = at;
    this.load();
  }

  load() {
    const { set, index } = this;
    this.title.textContent = shown(set.data.keys[index]);
    this.previous.disabled = this.at === 0;
    this.next.disabled = this.at === this.order.length - 1;
    const put = (image, method) => {
      const url = set.url(method, index);
      image.hidden = !url;
      if (url) image.src = url; else image.removeAttribute("src");
    };
    put(this.under, this.left);
    put(this.over, this.right);
    const sharp = set.url(SHARP, index);
    if (sharp) this.truth.src = sharp;
    this.holdSharp(false);
    this.tags.left.textContent = shown(this.left);
    this.tags.right.textContent = shown(this.right);
    this.loadZooms();
    this.showScores();
    this.layOut();
  }

  /** As large as fits into the window, never more than four screen pixels per image pixel. */
  layOut() {
    const { naturalWidth: width, naturalHeight: height } = this.under;
    if (!width) return;
    const scale = Math.min((this.dialog.clientWidth - 26) / width, window.innerHeight * 0.6 / height, 4);
    this.stage.style.width = `${Math.round(width * scale)}px`;
    this.stage.style.height = `${Math.round(height * scale)}px`;
    this.range.style.width = this.stage.style.width;
    this.range.style.display = "block";
    this.range.style.margin = "0 auto";
    this.placeSplit();
    this.drawBoxes();
    this.drawZooms();
  }

  placeSplit() {
    const part = `${this.split * 100}%`;
    this.over.style.clipPath = `inset(0 0 0 ${part})`;
    this.overlays.left.style.clipPath = `inset(0 ${100 - this.split * 100}% 0 0)`;
    this.overlays.right.style.clipPath = `inset(0 0 0 ${part})`;
    this.handle.style.left = part;
    this.tags.left.style.left = "8px";
    this.tags.right.style.right = "8px";
    this.range.value = Math.round(this.split * 1000);
  }

  holdSharp(on) {
    const possible = on && Boolean(this.set.url(SHARP, this.index));
    this.truth.hidden = !possible;
    this.sharpButton.setAttribute("aria-pressed", String(possible));
  }

  toggleBoxes() {
    this.boxes = !this.boxes;
    this.boxButton.setAttribute("aria-pressed", String(this.boxes));
    this.drawBoxes();
  }

  drawBoxes() {
    const data = this.set.data.boxes;
    for (const side of ["left", "right"]) {
      const svg = this.overlays[side];
      svg.replaceChildren();
      svg.setAttribute("viewBox", `0 0 ${this.under.naturalWidth || 1} ${this.under.naturalHeight || 1}`);
      if (!data || !this.boxes) continue;
      for (const [kind, x1, y1, x2, y2, name, score] of data.by_method[this[side]]?.[this.index] ?? []) {
        const label = `${data.class_names[name]}${score === null ? "" : " " + score.toFixed(2)}`;
        const area = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, fill: "none", "vector-effect": "non-scaling-stroke" };
        svg.append(make("rect", { ...area, stroke: "#000", "stroke-width": 4 }),
          make("rect", { ...area, class: `box-${kind}`, "stroke-width": 2 }),
          make("text", { x: x1 + 2, y: Math.max(y1 - 3, 12), style: null, "font-size": 14, stroke: "#000", "stroke-width": 3, "paint-order": "stroke", class: "box-label" }, shown(label)));
      }
    }
  }

  loadZooms() {
    this.panels = this.usable.filter((m) => this.set.url(m, this.index)).map((method) => {
      const image = new Image();
      const canvas = make("canvas", { "data-method": method, role: "img", "aria-label": `region of ${shown(method)}` });
      image.addEventListener("load", () => this.drawZooms());
      image.src = this.set.url(method, this.index);
      return { method, image, canvas };
    });
    this.zooms.replaceChildren(...this.panels.map(({ method, canvas }) =>
      make("figure", {}, make("figcaption", {}, shown(method)), canvas)));
  }

  /** One image pixel covers zoom x zoom pixels of the screen, with no smoothing. */
  drawZooms() {
    const { naturalWidth: width, naturalHeight: height } = this.under;
    if (!width) return;
    let size = null;
    for (const { image, canvas } of this.panels) {
      const area = canvas.getBoundingClientRect();
      if (!image.naturalWidth || !area.width) continue;
      canvas.width = Math.round(area.width * devicePixelRatio);
      canvas.height = Math.round(area.height * devicePixelRatio);
      size = [canvas.width / this.zoom, canvas.height / this.zoom];
      const [left, top] = this.corner(size, width, height);
      const context = canvas.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.drawImage(image, left, top, size[0], size[1], 0, 0, canvas.width, canvas.height);
    }
    if (!size) return;
    const [left, top] = this.corner(size, width, height);
    const percent = (value, whole) => `${Math.min(100, (100 * value) / whole)}%`;
    Object.assign(this.lens.style, { left: percent(left, width), top: percent(top, height),
      width: percent(size[0], width), height: percent(size[1], height) });
  }

  corner(size, width, height) {
    const at = (centre, whole, part) => Math.round(Math.min(Math.max(centre * whole - part / 2, 0), Math.max(0, whole - part)));
    return [at(this.centre[0], width, size[0]), at(this.centre[1], height, size[1])];
  }

  showScores() {
    const { set, index } = this;
    const methods = set.methods.filter((m) => set.metrics.some((metric) => set.score(m, metric.name, index) !== null));
    const facts = Object.keys(set.data.facts).filter((name) => set.fact(name, index) !== null)
      .map((name) => `${name} ${Number(set.fact(name, index).toPrecision(6))}`).join(", ");
    this.scores.replaceChildren();
    if (facts) this.scores.append(make("p", { class: "soft" }, facts));
    this.scores.append(...set.remarks(index).map((remark) => make("p", { class: "note" }, shown(remark))));
    if (!methods.length) return;
    const head = make("tr", {}, make("th", { scope: "col" }, "method"), ...set.metrics.map((metric) =>
      make("th", { scope: "col" }, `${metric.name} ${metric.unit} ${metric.higher_is_better ? "↑" : "↓"}`)));
    const body = methods.map((method) => make("tr", {}, make("th", { scope: "row" }, shown(method)), ...set.metrics.map((metric) => {
      const value = set.score(method, metric.name, index);
      const gain = method === BLURRED || method === SHARP ? null : set.difference(method, metric.name, index);
      const better = set.gain(method, metric.name, index) >= 0;
      return make("td", { "data-value": value, title: value },
        digits(value, metric.digits), gain === null ? null : make("span", { class: better ? "up" : "down" }, ` ${signed(gain, metric.digits)}`));
    })));
    this.scores.append(make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body))));
  }

  key(event, down) {
    if (event.key === "s" && !event.ctrlKey && !event.metaKey) {
      if (!event.repeat) this.holdSharp(down);
      return;
    }
    if (!down || ["SELECT", "INPUT"].includes(event.target.tagName)) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.shiftKey && event.key in moves) {
      this.centre = this.centre.map((value, axis) => Math.min(1, Math.max(0, value + 0.02 * moves[event.key][axis])));
      this.drawZooms();
    } else if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "ArrowRight") this.step(1);
    else if (event.key === "m") this.nextMethod();
    else if (event.key === "b" && this.set.data.boxes) this.toggleBoxes();
    else if (event.key === "z") this.nextZoom();
    else if (event.key === "[" || event.key === "]") {
      this.split = Math.min(1, Math.max(0, this.split + (event.key === "[" ? -0.05 : 0.05)));
      this.placeSplit();
    } else return;
    event.preventDefault();
  }

  nextMethod() {
    this.right = this.usable[(this.usable.indexOf(this.right) + 1) % this.usable.length];
    this.dialog.querySelector("select.right").value = this.right;
    this.load();
  }

  nextZoom() {
    this.zoom = ZOOMS[(ZOOMS.indexOf(this.zoom) + 1) % ZOOMS.length];
    this.zoomSelect.value = this.zoom;
    this.drawZooms();
  }
}
