"use strict";
(() => {
  const get = (id) => document.getElementById(id);
  const data = JSON.parse(get("explorer-data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const values = ({ low, step, codes }) => {
    const view = new DataView(bytes(codes).buffer);
    return Float64Array.from({ length: view.byteLength / 2 }, (_, i) => {
      const code = view.getUint16(2 * i, true);
      return code === 65535 ? NaN : low + step * code;
    });
  };
  const a = values(data.a), w = values(data.w), loss = values(data.loss);
  const success = bytes(data.success), status = bytes(data.status);
  const rows = data.a0.length, columns = data.w0.length, cells = rows * columns, levels = data.kept.length;
  const paths = ["dense level", ...data.labels.map((label) => `last level, ${label}`)];
  const colours = ["var(--black)", ...data.algorithms.map((name) => `var(--${name})`)];
  const dashes = ["", "6 3", "2 3", ""];
  const words = ["fails", "succeeds", "is undecided"];

  const SVG = "http://www.w3.org/2000/svg";
  const draw = (parent, name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return parent.appendChild(element);
  };
  const add = (parent, name, text) => {
    const element = document.createElement(name);
    element.textContent = text;
    return parent.appendChild(element);
  };
  const signed = (value) => value.toFixed(2).replace("-", "−");

  // The map: a square of side 440 with room for labels; it extends half a cell beyond the grid on every side.
  const map = get("explorer-map"), size = 440, edge = 46;
  const cell = data.a0[1] - data.a0[0];
  const greatest = (list) => list.reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 0);
  const largest = Math.max(...[a, w, data.a0, data.w0].map(greatest)) + cell;
  const scale = (size - edge - 8) / (2 * largest);
  const x = (value) => edge + (value + largest) * scale, y = (value) => 8 + (largest - value) * scale;
  map.setAttribute("viewBox", `0 0 ${size} ${size}`);

  const kinds = [
    ["none succeeds", "var(--failure)", "000"],
    ["only LRR", "#d9ebf7", "001"],
    ["WR and LRR", "var(--success)", "011"],
    ["IMP, WR and LRR", "#69aed9", "111"],
    ["other, or undecided", "#fff", ""],
  ];
  // The first axis of every array is the parameterization. `shown` is the index of the displayed one.
  let shown = 0;
  const run = (k) => shown * data.algorithms.length + k, track = (k) => shown * paths.length + k;
  const outcome = (i) => data.algorithms.map((_, k) => success[run(k) * cells + i]).join("");
  const kind = (i) => (kinds.findIndex(([, , code]) => code === outcome(i)) + kinds.length) % kinds.length;
  const width = cell * scale + 0.3; // no seams between cells
  const fills = kinds.map(([, fill]) => draw(map, "path", { fill }));
  const paint = () => {
    const squares = kinds.map(() => "");
    for (let i = 0; i < cells; i++) {
      const left = x(data.a0[Math.floor(i / columns)] - cell / 2), top = y(data.w0[i % columns] + cell / 2);
      squares[kind(i)] += `M${left.toFixed(2)} ${top.toFixed(2)}h${width}v${width}h-${width}z`;
    }
    squares.forEach((d, k) => fills[k].setAttribute("d", d));
  };
  const line = (parent, x1, y1, x2, y2, colour = "var(--grey)") =>
    draw(parent, "line", { x1, y1, x2, y2, stroke: colour, "stroke-width": 0.7 });
  line(map, x(-largest), y(0), x(largest), y(0));
  line(map, x(0), y(-largest), x(0), y(largest));
  const curve = Array.from({ length: 60 }, (_, i) => (1 / largest) * (largest * largest) ** (i / 59));
  const target = curve.map((value) => `${x(value).toFixed(1)},${y(1 / value).toFixed(1)}`).join(" ");
  draw(map, "polyline", { points: target, fill: "none", stroke: "var(--grey)", "stroke-width": 1 });
  const frame = { x: x(-largest), y: y(largest), width: 2 * largest * scale, height: 2 * largest * scale };
  draw(map, "rect", { ...frame, fill: "none", stroke: "var(--black)", "stroke-width": 0.8 });
  for (let tick = -Math.floor(largest); tick <= largest; tick++) {
    const label = String(tick).replace("-", "−");
    line(map, x(tick), y(-largest), x(tick), y(-largest) + 4, "var(--black)");
    draw(map, "text", { x: x(tick), y: y(-largest) + 17, "text-anchor": "middle" }, label);
    line(map, x(-largest), y(tick), x(-largest) - 4, y(tick), "var(--black)");
    draw(map, "text", { x: x(-largest) - 7, y: y(tick) + 4, "text-anchor": "end" }, label);
  }
  const name = (at, letter, index) => {
    const text = draw(map, "text", { ...at, "text-anchor": "middle" });
    draw(text, "tspan", { "font-style": "italic" }, letter);
    if (index) draw(text, "tspan", { dy: 3, "font-size": "75%" }, index);
    draw(text, "tspan", index ? { dy: -3 } : {}, "(0)");
  };
  name({ x: x(0), y: size - 7 }, "a", "");
  name({ transform: `translate(12 ${y(0)}) rotate(-90)` }, "w", "1");

  const marker = draw(map, "rect", { width: cell * scale, height: cell * scale, fill: "none", stroke: "#000", "stroke-width": 1.6 });
  const tracks = paths.map((_, k) => {
    const common = { fill: "none", "stroke-linejoin": "round" };
    return {
      casing: draw(map, "polyline", { ...common, stroke: "#fff", "stroke-width": 4.5, opacity: 0.8 }),
      line: draw(map, "polyline", { ...common, stroke: colours[k], "stroke-width": 2, "stroke-dasharray": dashes[k] }),
      start: draw(map, "circle", { r: 3.5, fill: "#fff", stroke: colours[k], "stroke-width": 1.6 }),
      end: draw(map, "circle", { r: 3.2, fill: colours[k] }),
    };
  });

  const swatch = (list, text, shape, attributes) => {
    const item = document.createElement("li");
    const picture = draw(item, "svg", { viewBox: "0 0 32 14", "aria-hidden": "true" });
    draw(picture, shape, attributes);
    item.append(text);
    get(list).append(item);
  };
  kinds.forEach(([text, fill]) => {
    swatch("explorer-fills", text, "rect", { x: 1, y: 1, width: 30, height: 12, fill, stroke: "#999", "stroke-width": 0.6 });
  });
  paths.forEach((text, k) => {
    swatch("explorer-lines", text, "line", { x1: 0, y1: 7, x2: 32, y2: 7, stroke: colours[k], "stroke-width": 3, "stroke-dasharray": dashes[k] });
  });
  add(get("explorer-lines"), "li", "○ start, ● end");
  add(get("explorer-lines"), "li", "grey curve: the target, a w₁ = 1");

  // Loss by level.
  const chart = get("explorer-loss"), top = 12, bottom = 170, left = 40, right = 310;
  chart.setAttribute("viewBox", "0 0 320 214");
  const most = Math.max(0.25, greatest(loss.map((value) => 10 ** value))) * 1.04;
  const level = (k) => left + 14 + ((right - left - 28) * k) / (levels - 1), height = (value) => bottom - ((bottom - top) * value) / most;
  draw(chart, "rect", { x: left, y: top, width: right - left, height: bottom - top, fill: "none", stroke: "var(--black)", "stroke-width": 0.8 });
  for (let tick = 0; tick <= most; tick += most > 1 ? 0.5 : 0.1) {
    line(chart, left - 4, height(tick), left, height(tick), "var(--black)");
    draw(chart, "text", { x: left - 7, y: height(tick) + 4, "text-anchor": "end" }, tick.toFixed(1));
  }
  data.kept.forEach((kept, k) => {
    line(chart, level(k), bottom, level(k), bottom + 4, "var(--black)");
    draw(chart, "text", { x: level(k), y: bottom + 17, "text-anchor": "middle" }, `${k} (${kept})`);
  });
  draw(chart, "text", { x: (left + right) / 2, y: 208, "text-anchor": "middle" }, "pruning level (coordinates kept)");
  draw(chart, "text", { transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "loss");
  const radii = [5.5, 4, 2.5]; // where losses agree, the rings are nested
  const falls = data.algorithms.map((_, k) => ({
    line: draw(chart, "polyline", { fill: "none", stroke: colours[k + 1], "stroke-width": 1.8, "stroke-dasharray": dashes[k + 1] }),
    dots: data.kept.map(() => draw(chart, "circle", { r: radii[k], fill: k === 2 ? colours[3] : "none", stroke: colours[k + 1], "stroke-width": 1.4 })),
  }));

  let chosen = [0, 0];
  const choose = (row, column) => {
    chosen = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)];
    const i = chosen[0] * columns + chosen[1], a0 = data.a0[chosen[0]], w0 = data.w0[chosen[1]];
    marker.setAttribute("x", x(a0 - cell / 2));
    marker.setAttribute("y", y(w0 + cell / 2));
    tracks.forEach((lines, k) => {
      const first = (track(k) * cells + i) * data.points, last = first + data.points - 1;
      let points = "";
      for (let j = first; j <= last; j++) if (!isNaN(a[j] + w[j])) points += `${x(a[j]).toFixed(1)},${y(w[j]).toFixed(1)} `;
      lines.casing.setAttribute("points", points);
      lines.line.setAttribute("points", points);
      for (const [dot, j] of [[lines.start, first], [lines.end, last]]) {
        dot.setAttribute("cx", x(a[j]));
        dot.setAttribute("cy", y(w[j]));
      }
    });
    const table = get("explorer-table");
    table.replaceChildren();
    const head = table.createTHead().insertRow(), body = table.createTBody();
    ["Loss", ...data.kept.map((kept, k) => `${k} (${kept})`)].forEach((text) => (add(head, "th", text).scope = "col"));
    const said = data.algorithms.map((_, k) => {
      const from = (run(k) * cells + i) * levels, losses = loss.slice(from, from + levels).map((value) => 10 ** value);
      falls[k].line.setAttribute("points", [...losses].map((value, j) => `${level(j)},${height(value)}`).join(" "));
      falls[k].dots.forEach((dot, j) => {
        dot.setAttribute("cx", level(j));
        dot.setAttribute("cy", height(losses[j]));
      });
      const row = body.insertRow();
      add(row, "th", data.labels[k]).scope = "row";
      losses.forEach((value) => add(row, "td", value.toExponential(1).replace("-", "−")));
      return `${data.labels[k]} ${words[success[run(k) * cells + i]]} (${data.codes[status[run(k) * cells + i]]})`;
    });
    get("explorer-text").textContent =
      `From a(0) = ${signed(a0)}, w₁(0) = ${signed(w0)}, d = ${data.d}: ${said.join(", ")}. WR rewinds to t = ${data.rewind_time}.`;
  };

  const nearest = (axis, value) => Math.round((value - axis[0]) / cell);
  const point = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    choose(nearest(data.a0, (at.x - edge) / scale - largest), nearest(data.w0, largest - (at.y - 8) / scale));
  };
  // A click pins a start, and writes it into the address. A click on the pinned start releases it.
  let pinned = false;
  const pin = (on) => {
    pinned = on;
    marker.setAttribute("stroke-width", on ? 3 : 1.6);
    const start = `#start=${data.a0[chosen[0]].toFixed(3)},${data.w0[chosen[1]].toFixed(3)},${data.parameterizations[shown]}`;
    if (on) history.replaceState(null, "", start);
    else if (location.hash.startsWith("#start=")) history.replaceState(null, "", location.pathname + location.search);
  };
  map.addEventListener("pointermove", (event) => pinned || point(event));
  map.addEventListener("click", (event) => {
    const before = String(chosen), was = pinned;
    point(event);
    pin(!(was && before === String(chosen)));
  });
  map.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const steps = event.shiftKey ? 5 : 1;
    choose(chosen[0] + steps * move[0], chosen[1] + steps * move[1]);
    pin(true);
  });
  // One button for each parameterization. It redraws the map and the chosen start.
  const names = { plain: "plain weights", "sign-in": "Sign-In" };
  data.parameterizations.forEach((name, index) => {
    const label = add(get("explorer-switch"), "label", ` ${names[name] || name}`);
    const button = document.createElement("input");
    Object.assign(button, { type: "radio", name: "parameterization", value: name, checked: index === shown });
    button.addEventListener("change", () => {
      shown = index;
      paint();
      choose(...chosen);
      if (pinned) pin(true);
    });
    label.prepend(button);
  });

  // A link can select a start and a parameterization, as in #start=0.8,-0.6,sign-in
  const linked = () => {
    const [found, a0, w0, name] = location.hash.match(/^#start=(-?[\d.]+),(-?[\d.]+)(?:,([a-z-]+))?$/) || [null, 0.8, -0.6];
    shown = Math.max(data.parameterizations.indexOf(name), 0);
    document.getElementsByName("parameterization").forEach((button, index) => (button.checked = index === shown));
    paint();
    choose(nearest(data.a0, Number(a0)), nearest(data.w0, Number(w0)));
    if (found) pin(true);
  };
  addEventListener("hashchange", () => location.hash.startsWith("#start=") && linked());
  get("explorer-view").hidden = false;
  linked();
})();
