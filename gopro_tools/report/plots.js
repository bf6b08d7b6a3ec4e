const FRAME = { width: 420, height: 260, left: 46, right: 10, top: 16, bottom: 34 };

/** An empty plot with axes; returns it and the functions from values to px. Counts have no halves. */
function axes(xs, ys, xLabel, yLabel, { counts = false } = {}) {
  const [x0, x1] = padded(xs), [y0, y1] = padded(ys);
  const { width, height, left, right, top, bottom } = FRAME;
  const x = (value) => left + (value - x0) / (x1 - x0) * (width - left - right);
  const y = (value) => height - bottom - (value - y0) / (y1 - y0) * (height - top - bottom);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${yLabel} over ${xLabel}` });
  for (const tick of ticks(x0, x1)) {
    svg.append(make("line", { class: "axis", x1: x(tick), x2: x(tick), y1: top, y2: height - bottom }),
      make("text", { x: x(tick), y: height - bottom + 13, "text-anchor": "middle" }, plain(tick)));
  }
  for (const tick of ticks(y0, y1).filter((tick) => !counts || Number.isInteger(tick))) {
    svg.append(make("line", { class: "axis", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      make("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, plain(tick)));
  }
  svg.append(make("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, xLabel),
    make("text", { x: 4, y: 9 }, yLabel));
  return { svg, x, y };
}

function padded(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (high - low || Math.abs(high) || 1) * 0.04;
  return [low - pad, high + pad];
}

function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) found.push(i * step);
  return found;
}

function plain(value) {
  return String(Number(value.toPrecision(6)));
}

function legend(names) {
  return make("div", { class: "legend" }, ...names.map((name, i) => {
    const swatch = make("i");
    swatch.style.background = seriesColour(i);
    return make("span", {}, swatch, shown(name));
  }));
}

function figure(svg, caption, names, name) {
  return make("figure", { "data-plot": name }, make("figcaption", {}, caption), svg, names.length > 1 ? legend(names) : null);
}

function plotsSection(set, viewer) {
  const figures = make("div", { class: "plots" });
  const section = make("section", {}, make("h2", {}, "Plots: ", shown(set.data.title)));
  const metrics = set.metrics.filter((metric) => set.restored(metric.name).length);
  if (!metrics.length && !set.data.sweep.length && !set.data.timeline) return null;
  const draw = (name) => {
    figures.replaceChildren();
    if (name) figures.append(...gainPlots(set, name, viewer));
    if (set.data.sweep.length) figures.append(sweepPlot(set));
    if (set.data.timeline) figures.append(timelinePlot(set.data.timeline));
  };
  if (metrics.length) {
    section.append(make("div", { class: "controls" }, labelled("metric", make("select", { class: "plotted", onchange: (event) => draw(event.target.value) },
      ...metrics.map((metric) => option(metric.name, metric.name, metrics[0].name))))));
  }
  section.append(figures);
  draw(metrics[0]?.name);
  return section;
}

function gainPlots(set, metric, viewer) {
  const methods = set.restored(metric);
  const unit = set.metric(metric).unit || "index";
  const gains = methods.map((method) => [...Array(set.size).keys()]
    .map((index) => ({ index, method, gain: set.gain(method, metric, index) }))
    .filter(({ gain }) => gain !== null && Number.isFinite(gain)));
  const all = gains.flat().map(({ gain }) => gain);
  if (!all.length) return [];
  return [histogram(methods, gains, all, `gain in ${metric} (${unit})`), gainOverBlur(set, metric, methods, gains, all, viewer)];
}

/** Images per bin of gain, one outline per method. */
function histogram(methods, gains, all, label) {
  const [low, high] = [Math.min(...all, 0), Math.max(...all, 0)];
  const n = Math.min(30, Math.max(6, Math.ceil(Math.sqrt(all.length / methods.length) * 2)));
  const width = (high - low) / n || 1;
  const counts = gains.map((points) => {
    const bins = Array(n).fill(0);
    points.forEach(({ gain }) => { bins[Math.min(n - 1, Math.floor((gain - low) / width))] += 1; });
    return bins;
  });
  const most = Math.max(...counts.flat());
  const { svg, x, y } = axes([low, low + n * width], [0, most], label, "images", { counts: true });
  svg.append(make("line", { class: "zero", x1: x(0), x2: x(0), y1: y(0), y2: y(most) }));
  counts.forEach((bins, i) => {
    const path = bins.map((count, bin) => `L${x(low + bin * width)} ${y(count)}H${x(low + (bin + 1) * width)}`).join("");
    svg.append(make("path", { d: `M${x(low)} ${y(0)}${path}V${y(0)}`, fill: seriesColour(i), "fill-opacity": 0.12, stroke: seriesColour(i), "stroke-width": 1.6,
      "data-method": methods[i], "data-counts": bins.join(" ") }, make("title", {}, `${shown(methods[i])}: ${gains[i].length} images`)));
  });
  return figure(svg, "Images by gain over the blurred input", methods, "histogram");
}

/** One dot per image and method; over the length of blur where the dataset knows it. */
function gainOverBlur(set, metric, methods, gains, all, viewer) {
  const fact = Object.keys(set.data.facts).find((name) => name.endsWith("_px"));
  const level = (index) => fact ? set.fact(fact, index) : set.score(BLURRED, metric, index);
  const label = fact ?? `${metric} of the blurred input`;
  const points = gains.map((series) => series.map((point) => ({ ...point, level: level(point.index) }))
    .filter((point) => point.level !== null && Number.isFinite(point.level)));
  const levels = points.flat().map((point) => point.level);
  const { svg, x, y } = axes(levels.length ? levels : [0, 1], [...all, 0], label, "gain");
  svg.append(make("line", { class: "zero", x1: FRAME.left, x2: FRAME.width - FRAME.right, y1: y(0), y2: y(0) }));
  const order = [...Array(set.size).keys()];
  points.forEach((series, i) => series.forEach((point) => {
    svg.append(make("circle", { class: "dot", cx: x(point.level), cy: y(point.gain), r: 3, fill: seriesColour(i), "data-gain": point.gain, "data-level": point.level,
      onclick: () => hasImages(set, point.index) && viewer.open(set, order, point.index, point.method) },
    make("title", {}, `${shown(set.data.keys[point.index])}\n${shown(point.method)} ${signed(point.gain, 4)}`)));
  }));
  return figure(svg, fact ? "Gain over the length of blur; a dot opens its image" : "Gain over the quality of the input; a dot opens its image", methods, "gain-over-blur");
}

function sweepPlot(set) {
  const rows = set.data.sweep;
  const methods = [...new Set(rows.map((row) => row.method))];
  const { svg, x, y } = axes([0, 1], [0, 1], "least confidence", "recall");
  methods.forEach((method, i) => {
    const own = rows.filter((row) => row.method === method && row.recall !== null);
    svg.append(make("polyline", { points: own.map((row) => `${x(row.confidence)},${y(row.recall)}`).join(" "), fill: "none", stroke: seriesColour(i), "stroke-width": 2,
      "data-method": method, "data-recall": own.map((row) => row.recall).join(" ") }, make("title", {}, shown(method))));
  });
  return figure(svg, "Objects found again over the least confidence of a box", methods, "recall");
}

/** The score of every frame of a video; infinite ones and frames that are missing leave gaps. */
function timelinePlot({ times_s: times, metric, by_method: scores }) {
  const methods = Object.keys(scores);
  const drawn = (value) => value !== null && Number.isFinite(value);
  const series = methods.map((method) => scores[method].map(numeric));
  const values = series.flat().filter(drawn);
  const { svg, x, y } = axes(times, values.length ? values : [0, 1], "time (s)", metric);
  series.forEach((own, i) => {
    const path = own.map((value, frame) => drawn(value)
      ? `${frame > 0 && drawn(own[frame - 1]) ? "L" : "M"}${x(times[frame])} ${y(value)}` : "").join("");
    svg.append(make("path", { d: path || "M0 0", fill: "none", stroke: seriesColour(i), "stroke-width": 1.6,
      "data-method": methods[i], "data-scores": own.join(" ") }, make("title", {}, shown(methods[i]))));
  });
  return figure(svg, `${metric} of every frame against the sharp video`, methods, "timeline");
}

/** Gain on the validation images over the steps of each training of a method. */
function curvesPlot(method, curves) {
  const points = curves.flatMap((curve) => curve.points);
  const { svg, x, y } = axes(points.map(([step]) => step), [...points.map(([, gain]) => gain), 0], "steps", "gain (dB)");
  svg.append(make("line", { class: "zero", x1: FRAME.left, x2: FRAME.width - FRAME.right, y1: y(0), y2: y(0) }));
  curves.forEach((curve, i) => {
    svg.append(make("polyline", { points: curve.points.map(([step, gain]) => `${x(step)},${y(gain)}`).join(" "), fill: "none", stroke: seriesColour(i), "stroke-width": 2,
      "data-label": curve.label, "data-gain": curve.points.map(([, gain]) => gain).join(" ") }, make("title", {}, shown(curve.label))));
  });
  return figure(svg, `${shown(method)}: gain on the validation images while training`, curves.map((curve) => curve.label), "curves");
}

start();
