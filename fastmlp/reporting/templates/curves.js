// Overlaid curves: one quantity of many runs by epoch, drawn in the width that there is.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#8a6d3b"];
const DASHES = ["", "7 3", "2 2", "9 3 2 3", "4 2", "1 3", "12 3", "6 2 1 2 1 2"];

function ticksOf(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(one => one * power).find(one => one >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) {
    ticks.push(Number(tick.toPrecision(8)));
  }
  return ticks;
}

function curves(box, runs) {
  const quantities = [...new Set(runs.flatMap(run => Object.keys(run.curves)))];
  const choice = box.querySelector("select"), logarithm = box.querySelector(".logarithm");
  const svg = box.querySelector("svg"), told = box.querySelector(".told");
  const boxes = runs.map((_, number) => document.querySelector(`[data-run="${number}"]`));
  choice.append(...quantities.map(name => new Option(name.replaceAll("_", " "), name)));
  choice.value = quantities.find(name => name.startsWith("valid_")) ?? quantities[0];
  const style = number => [COLOURS[number % COLOURS.length], DASHES[(number % 64) >> 3]];
  boxes.forEach((one, number) => {
    const swatch = one.parentNode.querySelector(".swatch"), [colour, dashes] = style(number);
    swatch.style.borderTopColor = colour;
    swatch.style.borderTopStyle = dashes ? "dashed" : "solid";
    one.onchange = draw;
  });

  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
    return made;
  }

  function draw() {
    svg.replaceChildren();
    told.textContent = "";
    const name = choice.value, log = logarithm.checked;
    const lines = runs.map((run, number) => [run, number])
      .filter(([run, number]) => boxes[number].checked && run.curves[name])
      .map(([run, number]) => [run, number, run.curves[name].map((y, at) => [run.epochs[at], y])
        .filter(([, y]) => y !== null && (!log || y > 0)).map(([x, y]) => [x, log ? Math.log10(y) : y])]);
    const points = lines.flatMap(([, , one]) => one);
    if (!points.length) { told.textContent = "No run with this curve is ticked."; return; }
    const width = svg.clientWidth, height = 340, left = 62, bottom = 42, top = 8, right = 22;
    const low = values => values.reduce((a, b) => Math.min(a, b), Infinity);
    const high = values => values.reduce((a, b) => Math.max(a, b), -Infinity);
    const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
    let [x0, x1, y0, y1] = [low(xs), high(xs), low(ys), high(ys)];
    if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
    if (y0 === y1) { y0 -= 0.5; y1 += 0.5; }
    const toX = x => left + (x - x0) / (x1 - x0) * (width - left - right);
    const toY = y => height - bottom - (y - y0) / (y1 - y0) * (height - bottom - top);
    for (const tick of ticksOf(y0, y1, 5)) {
      element("line", {class: "grid", x1: left, x2: width - right, y1: toY(tick), y2: toY(tick)});
      const text = log ? Number((10 ** tick).toPrecision(2)) : tick;
      element("text", {x: left - 6, y: toY(tick) + 4, "text-anchor": "end"}, text);
    }
    for (const tick of ticksOf(x0, x1, Math.min(10, (width - left) / 70)).filter(Number.isInteger)) {
      element("line", {class: "grid", y1: top, y2: height - bottom, x1: toX(tick), x2: toX(tick)});
      element("text", {x: toX(tick), y: height - bottom + 18, "text-anchor": "middle"}, tick);
    }
    element("text", {x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle"}, "epoch");
    const drawn = lines.map(([run, number, one]) => {
      const path = one.map(([x, y], at) => `${at ? "L" : "M"}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`);
      if (one.length === 1) path.push("h 4");
      const [colour, dashes] = style(number);
      return [run, one, element("path", {class: "curve", d: path.join(""), stroke: colour, "stroke-dasharray": dashes})];
    });
    svg.onpointermove = event => {
      const place = svg.getBoundingClientRect(), x = event.clientX - place.left, y = event.clientY - place.top;
      let best = null;
      for (const [run, one, path] of drawn) {
        for (const [px, py] of one) {
          const far = (toX(px) - x) ** 2 + (toY(py) - y) ** 2;
          if (!best || far < best.far) best = {far, run, path, px, py};
        }
      }
      drawn.forEach(([, , path]) => path.classList.toggle("far", path !== best.path));
      const value = log ? 10 ** best.py : best.py;
      told.textContent = `${best.run.name}: ${value.toPrecision(4)} at epoch ${best.px}`;
    };
    svg.onpointerleave = () => drawn.forEach(([, , path]) => path.classList.remove("far"));
  }

  choice.onchange = logarithm.onchange = draw;
  box.querySelector(".all").onclick = () => { boxes.forEach(one => { one.checked = true; }); draw(); };
  box.querySelector(".none").onclick = () => { boxes.forEach(one => { one.checked = false; }); draw(); };
  new ResizeObserver(draw).observe(svg);
  draw();
}
