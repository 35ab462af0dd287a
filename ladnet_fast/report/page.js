
"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, kind, text) => {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  const plural = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

  // Videos: scores decoded, and what depends on the threshold kept beside them.

  const videos = data.videos.map((entry) => {
    const bytes = Uint8Array.from(atob(entry.scores), (char) => char.charCodeAt(0));
    const scores = new Float32Array(bytes.buffer);
    let peak = 0;
    for (let t = 1; t < scores.length; t++) if (scores[t] > scores[peak]) peak = t;
    return { ...entry, scores, peak, count: scores.length, length: entry.frames ?? scores.length, found: [] };
  });

  /** The frame at which a snippet begins; where no frame is known, the snippet itself. */
  function border(video, snippet) {
    if (snippet >= video.count) return video.length;
    if (video.frames === null) return snippet;
    if (video.step === null) return (snippet * video.length) / video.count;
    return Math.min(snippet * video.step, video.length);
  }

  function snippetAt(video, place) {
    let guess = place;
    if (video.frames !== null) guess = video.step === null ? (place * video.count) / video.length : place / video.step;
    return clamp(Math.floor(guess + 1e-9), 0, video.count - 1);
  }

  /** The rule of ladnet_fast.report.intervals: [first snippet, stop, peak's snippet]. */
  function intervals(video, threshold) {
    const joined = [];
    const scores = video.scores;
    for (let t = 0; t < video.count; t++) {
      if (!(scores[t] >= threshold)) continue;
      const first = t;
      while (t + 1 < video.count && scores[t + 1] >= threshold) t++;
      const last = joined[joined.length - 1];
      if (last && first - last[1] <= data.merge_gaps) last[1] = t + 1;
      else joined.push([first, t + 1, first]);
    }
    const kept = joined.filter(([first, stop]) => stop - first >= data.min_snippets);
    for (const interval of kept) {
      for (let t = interval[0] + 1; t < interval[1]; t++) if (scores[t] > scores[interval[2]]) interval[2] = t;
    }
    return kept;
  }

  function clock(seconds, decimals = 0) {
    const unit = 10 ** decimals;
    const ticks = decimals ? Math.round(seconds * unit) : Math.floor(seconds + 1e-6);
    const whole = Math.floor(ticks / unit);
    const two = (number) => String(number).padStart(2, "0");
    const text = `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
    return decimals ? `${text}.${String(ticks % unit).padStart(decimals, "0")}` : text;
  }

  /** A place in frames as a person reads it: a time where the frame rate is known. */
  function shown(video, place) {
    if (video.fps !== null) return clock(place / video.fps, video.length / video.fps < 120 ? 1 : 0);
    return Math.ceil(place).toLocaleString("en");
  }
  const unitOf = (video) => (video.fps !== null ? "" : video.frames !== null ? "frame " : "snippet ");

  // The page's state.

  let current = videos[0];
  let threshold = data.threshold;
  let view = [0, current.length]; // part of the video in the plot, in frames
  let cursor = 0; // snippet
  let hovered = null;
  let wantedTime = null; // to seek to when the player knows the video
  const slider = byId("threshold");
  const player = byId("player");
  const plot = byId("plot");
  const colours = {};

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "soft", "line", "accent", "area", "hot", "hot-area", "truth", "truth-edge", "card"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  // Drawing.

  function prepared(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    return [context, width, height, ratio];
  }

  /** Lowest and highest score of every column of pixels, its first and last, and whether it is detected. */
  function columns(video, from, to, width) {
    const low = new Float32Array(width), high = new Float32Array(width);
    const first = new Float32Array(width), last = new Float32Array(width), hot = new Uint8Array(width);
    const scale = (to - from) / width;
    let next = 0;
    for (let x = 0; x < width; x++) {
      const a = snippetAt(video, from + x * scale);
      const b = Math.max(a, snippetAt(video, from + (x + 1) * scale - 1e-6));
      let least = Infinity, most = -Infinity;
      for (let t = a; t <= b; t++) {
        const score = video.scores[t];
        if (score < least) least = score;
        if (score > most) most = score;
      }
      low[x] = least; high[x] = most; first[x] = video.scores[a]; last[x] = video.scores[b];
      while (next < video.found.length && video.found[next][1] <= a) next++;
      hot[x] = next < video.found.length && video.found[next][0] <= b ? 1 : 0;
    }
    return { low, high, first, last, hot };
  }

  /** Draws areas and curve into a box of the canvas, all in device pixels. */
  function drawCurve(context, drawn, left, top, height, thickness) {
    const y = (score) => top + height * (1 - clamp(score, 0, 1));
    const width = drawn.high.length;
    for (const hot of [0, 1]) {
      context.fillStyle = colours[hot ? "hot-area" : "area"];
      for (let x = 0; x < width; x++) {
        if (drawn.hot[x] === hot) context.fillRect(left + x, y(drawn.high[x]), 1, top + height - y(drawn.high[x]));
      }
    }
    for (const hot of [0, 1]) {
      context.beginPath();
      for (let x = 0; x < width; x++) {
        const after = Math.min(x + 1, width - 1);
        if (drawn.hot[x] !== hot) continue;
        context.moveTo(left + x + .5, y(drawn.first[x]));
        context.lineTo(left + x + .5, y(drawn.high[x]));
        context.lineTo(left + x + .5, y(drawn.low[x]));
        context.lineTo(left + x + .5, y(drawn.last[x]));
        if (drawn.hot[after] === hot) context.lineTo(left + after + .5, y(drawn.first[after]));
      }
      context.strokeStyle = colours[hot ? "hot" : "accent"];
      context.lineWidth = thickness;
      context.lineJoin = "round";
      context.stroke();
    }
  }

  function ticks(video, most) {
    const rate = video.fps ?? 1;
    const from = view[0] / rate, to = view[1] / rate;
    const steps = video.fps === null ? [] : [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
    let step = steps.find((candidate) => (to - from) / candidate <= most);
    for (let ten = video.fps === null ? 1 : 86400; step === undefined; ten *= 10) {
      step = [1, 2, 5].map((n) => n * ten).find((candidate) => (to - from) / candidate <= most);
    }
    const places = [];
    for (let n = Math.ceil(from / step - 1e-9); n * step <= to + 1e-9; n++) places.push(n * step);
    return places.map((place) => [(place || 0) * rate, video.fps === null ? (place || 0).toLocaleString("en") : clock(place || 0)]);
  }

  const margin = { left: 34, right: 14, top: 22, bottom: 24 };

  function geometry() {
    const left = margin.left, width = Math.max(plot.clientWidth - margin.left - margin.right, 10);
    const scale = width / (view[1] - view[0]);
    return {
      left, width,
      x: (place) => left + (place - view[0]) * scale,
      place: (x) => clamp(view[0] + (x - left) / scale, view[0], view[1] - 1e-6),
    };
  }

  function draw() {
    const [context, , height, ratio] = prepared(plot);
    const at = geometry();
    const top = margin.top * ratio, base = height - margin.bottom * ratio;
    const y = (score) => top + (base - top) * (1 - score);
    const left = Math.round(at.left * ratio), width = Math.max(Math.round(at.width * ratio), 1);
    context.font = `${11.5 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "middle";

    context.fillStyle = colours.truth;
    const spans = current.truth ?? [];
    for (let n = 0; n < spans.length; n += 2) {
      const a = Math.max(at.x(spans[n]), at.left), b = Math.min(at.x(spans[n + 1]), at.left + at.width);
      if (b <= a) continue;
      context.fillStyle = colours.truth;
      context.fillRect(a * ratio, top, Math.max((b - a) * ratio, 2), base - top);
      context.fillStyle = colours["truth-edge"];
      context.fillRect(a * ratio, top, ratio, base - top);
      context.fillRect(b * ratio - ratio, top, ratio, base - top);
    }
    context.textAlign = "right";
    for (const level of [0, .25, .5, .75, 1]) {
      context.fillStyle = colours.line;
      context.fillRect(left, Math.round(y(level)), width, Math.max(1, Math.round(ratio)) * (level ? .6 : 1));
      context.fillStyle = colours.soft;
      if (level * 2 === Math.round(level * 2)) context.fillText(String(level), left - 8 * ratio, y(level));
    }
    const labels = ticks(current, Math.max(2, Math.floor(at.width / 80)));
    for (const [place, label] of labels) {
      const x = at.x(place) * ratio, half = context.measureText(label).width / 2;
      context.fillStyle = colours.line;
      context.fillRect(x, base, ratio, 4 * ratio);
      context.fillStyle = colours.soft;
      context.textAlign = "center";
      context.fillText(label, clamp(x, left - 20 * ratio + half, left + width + margin.right * ratio - half), base + 14 * ratio);
    }
    drawCurve(context, columns(current, view[0], view[1], width), left, top, base - top, 1.5 * ratio);

    context.setLineDash([5 * ratio, 4 * ratio]);
    context.strokeStyle = colours.hot;
    context.lineWidth = ratio;
    context.beginPath();
    context.moveTo(left, y(threshold));
    context.lineTo(left + width, y(threshold));
    context.stroke();
    context.setLineDash([]);

    for (const [x, snippet] of placed) { // from a picture to its peak
      const middle = at.x((border(current, snippet) + border(current, snippet + 1)) / 2);
      if (middle < at.left || middle > at.left + at.width) continue;
      const peak = y(clamp(current.scores[snippet], 0, 1));
      context.strokeStyle = colours.soft;
      context.globalAlpha = .55;
      context.beginPath();
      context.moveTo(x * ratio, 0);
      context.lineTo(middle * ratio, Math.min(12 * ratio, peak - 4 * ratio));
      context.lineTo(middle * ratio, peak);
      context.stroke();
      context.globalAlpha = 1;
      dot(context, middle * ratio, peak, 3.5 * ratio, colours.hot);
    }
    if (player.readyState && current.fps !== null && current.url !== null) {
      line(context, at, player.currentTime * current.fps, colours.ink, ratio, top, base);
    }
    const marked = hovered ?? (document.activeElement === plot ? cursor : null);
    if (marked !== null) {
      const middle = (border(current, marked) + border(current, marked + 1)) / 2;
      line(context, at, middle, colours.soft, ratio, top, base);
      dot(context, at.x(middle) * ratio, y(clamp(current.scores[marked], 0, 1)), 4 * ratio, colours.accent);
    }
    showTip(marked, at);
  }

  function dot(context, x, y, radius, colour) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.fill();
    context.strokeStyle = colours.card;
    context.lineWidth = radius / 2.4;
    context.stroke();
  }

  function line(context, at, place, colour, ratio, top, base) {
    const x = at.x(place);
    if (x < at.left - 1 || x > at.left + at.width + 1) return;
    context.fillStyle = colour;
    context.fillRect(x * ratio - ratio / 2, top, ratio, base - top);
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  function describe(snippet) {
    const when = current.frames === null ? "" : `${unitOf(current)}${shown(current, border(current, snippet))}, `;
    return `${when}snippet ${snippet.toLocaleString("en")}, score ${current.scores[snippet].toFixed(3)}`;
  }

  function showTip(snippet, at) {
    const tip = byId("tip");
    tip.hidden = snippet === null;
    if (snippet === null) return;
    tip.textContent = describe(snippet);
    const x = at.x((border(current, snippet) + border(current, snippet + 1)) / 2);
    tip.style.left = `${clamp(x - tip.offsetWidth / 2, 0, Math.max(plot.clientWidth - tip.offsetWidth, 0))}px`;
  }

  // Pictures at the peaks: as many as fit side by side, each near its peak.

  let placed = []; // [x of the middle, snippet]
  function placePictures() {
    const strip = byId("pictures");
    strip.replaceChildren();
    placed = [];
    const inside = current.pictures.filter(([snippet]) => {
      const place = border(current, snippet);
      return place >= view[0] && place < view[1];
    });
    const width = strip.clientWidth;
    const each = width < 560 ? 82 : 132, high = Math.round(each * .5625), gap = 6;
    const chosen = inside.slice(0, Math.floor((width + gap) / (each + gap))).sort((a, b) => a[0] - b[0]);
    strip.style.height = chosen.length ? `${high + 2}px` : "0";
    const at = geometry();
    const lefts = chosen.map(([snippet]) => at.x((border(current, snippet) + border(current, snippet + 1)) / 2) - each / 2);
    // Pushed apart to the right, and to the left, as little as it takes: half-way between is apart too.
    const right = [...lefts], left = [...lefts];
    for (let n = 0, least = 0; n < right.length; n++) least = (right[n] = Math.max(right[n], least)) + each + gap;
    for (let n = right.length - 1, most = width - each; n >= 0; n--) most = (right[n] = Math.min(right[n], most)) - each - gap;
    for (let n = left.length - 1, most = width - each; n >= 0; n--) most = (left[n] = Math.min(left[n], most)) - each - gap;
    for (let n = 0, least = 0; n < left.length; n++) least = (left[n] = Math.max(left[n], least)) + each + gap;
    lefts.forEach((_, n) => { lefts[n] = (left[n] + right[n]) / 2; });
    chosen.forEach(([snippet, jpeg], n) => {
      const button = make("button");
      const image = make("img");
      image.src = `data:image/jpeg;base64,${jpeg}`;
      image.alt = "";
      image.style.height = `${high}px`;
      button.type = "button";
      button.style.left = `${lefts[n]}px`;
      button.style.width = `${each}px`;
      button.setAttribute("aria-label", `Peak: ${describe(snippet)}`);
      button.append(image, make("span", "", shown(current, border(current, snippet))));
      button.addEventListener("click", () => seek(snippet));
      strip.append(button);
      placed.push([lefts[n] + each / 2, snippet]);
    });
  }

  // What a click does.

  function seek(snippet) {
    cursor = clamp(snippet, 0, current.count - 1);
    tellPosition();
    const place = border(current, cursor);
    if (place < view[0] || place >= view[1]) look(place - (view[1] - view[0]) / 2, view[1] - view[0]);
    if (current.url !== null && current.fps !== null) {
      // A hair into the first frame: players round times down to the frame before.
      const time = place / current.fps + 1e-3;
      if (player.readyState) player.currentTime = time;
      else wantedTime = time;
    }
    redraw();
  }

  function tellPosition() {
    plot.setAttribute("aria-valuemax", String(current.count - 1));
    plot.setAttribute("aria-valuenow", String(cursor));
    plot.setAttribute("aria-valuetext", describe(cursor));
  }

  function look(from, length) {
    const least = Math.min(current.length, 12 * (current.length / current.count));
    const size = clamp(length, least, current.length);
    const start = clamp(from, 0, current.length - size);
    view = [start, start + size];
    const pan = byId("pan");
    pan.hidden = size >= current.length;
    if (!pan.hidden) {
      pan.max = String(current.length - size);
      pan.step = String(size / 200);
      pan.value = String(start);
    }
    placePictures();
    redraw();
  }

  function zoom(factor, around) {
    const size = (view[1] - view[0]) * factor;
    const centre = around ?? (border(current, cursor) >= view[0] && border(current, cursor) < view[1] ? border(current, cursor) : (view[0] + view[1]) / 2);
    look(centre - (centre - view[0]) * factor, size);
  }

  // The table, and what the slider changes.

  const most = 400; // rows of a table
  function showIntervals() {
    const body = byId("intervals");
    const rows = current.found.slice(0, most).map(([first, stop, peak]) => {
      const row = make("tr");
      const cell = (place, snippet) => {
        const button = make("button", "", shown(current, place));
        button.type = "button";
        button.addEventListener("click", () => seek(snippet));
        const holder = make("td");
        holder.append(button);
        return holder;
      };
      const end = current.fps !== null ? border(current, stop) : Math.ceil(border(current, stop)) - 1;
      row.append(cell(border(current, first), first), make("td", "", shown(current, end)), cell(border(current, peak), peak));
      row.append(make("td", "score", current.scores[peak].toFixed(3)));
      return row;
    });
    body.replaceChildren(...rows);
    body.closest("table").hidden = !rows.length;
    const number = current.found.length;
    byId("count").textContent = number
      ? `${plural(number, "interval")} at ${threshold.toFixed(3)} or more`
      : `No interval at ${threshold.toFixed(3)} or more; the highest score is ${current.scores[current.peak].toFixed(3)}`;
    byId("more").hidden = number <= most;
    byId("more").textContent = `and ${number - most} more`;
  }

  function detect() {
    let total = 0, inVideos = 0;
    for (const video of videos) {
      video.found = intervals(video, threshold);
      total += video.found.length;
      inVideos += video.found.length ? 1 : 0;
      video.button.classList.toggle("found", video.found.length > 0);
      video.number.textContent = video.found.length ? plural(video.found.length, "interval") : "none";
      video.stale = true;
    }
    slider.setAttribute("aria-valuetext", threshold.toFixed(3));
    byId("threshold-value").textContent = threshold.toFixed(3);
    const timed = videos.every((video) => video.fps !== null);
    const length = timed ? `, ${clock(videos.reduce((sum, video) => sum + video.length / video.fps, 0))}` : "";
    byId("summary").textContent =
      `${plural(videos.length, "video")}${length} \u00b7 ${plural(total, "interval")} in ${plural(inVideos, "video")}`;
    for (const video of videos) if (video.visible) sparkle(video);
    showIntervals();
    redraw();
  }

  // The list.

  function sparkle(video) {
    if (!video.stale) return;
    video.stale = false;
    const [context, width, height, ratio] = prepared(video.spark);
    if (width) drawCurve(context, columns(video, 0, video.length, width), 0, 2 * ratio, height - 3 * ratio, ratio);
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const video = entry.target.video;
      video.visible = entry.isIntersecting;
      if (video.visible) sparkle(video);
    }
  });

  const list = byId("list");
  for (const video of videos) {
    const item = make("li");
    const button = make("button");
    button.type = "button";
    button.tabIndex = -1;
    button.title = video.name;
    video.spark = make("canvas");
    video.spark.setAttribute("aria-hidden", "true");
    video.spark.video = video;
    video.number = make("span", "number");
    const folder = video.name.lastIndexOf("/") + 1;
    const name = make("span", "name");
    if (folder) name.append(make("span", "folder", video.name.slice(0, folder)));
    name.append(make("span", "base", video.name.slice(folder)));
    button.append(name, make("span", "top", video.scores[video.peak].toFixed(3)), video.spark, video.number);
    button.addEventListener("click", () => choose(video));
    item.append(button);
    list.append(item);
    video.button = button;
    video.item = item;
    watcher.observe(video.spark);
  }

  list.addEventListener("keydown", (event) => {
    const there = videos.filter((video) => !video.item.hidden);
    const here = there.indexOf(current);
    const steps = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: there.length - 1, PageDown: here + 8, PageUp: here - 8 };
    if (!(event.key in steps) || !there.length) return;
    event.preventDefault();
    choose(there[clamp(steps[event.key], 0, there.length - 1)]);
    current.button.focus();
  });

  byId("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    let some = false;
    for (const video of videos) {
      video.item.hidden = !video.name.toLowerCase().includes(wanted);
      some ||= !video.item.hidden;
    }
    byId("none").hidden = some;
    list.hidden = !some;
    reachable();
  });

  /** One entry of the list takes the Tab key; the arrows go on from there. */
  function reachable() {
    for (const video of videos) video.button.tabIndex = -1;
    const first = current.item.hidden ? videos.find((video) => !video.item.hidden) : current;
    if (first) first.button.tabIndex = 0;
  }

  function choose(video) {
    current.button.removeAttribute("aria-current");
    current = video;
    video.button.setAttribute("aria-current", "true");
    reachable();
    hovered = null;
    cursor = video.peak;
    wantedTime = null;
    byId("name").textContent = video.name;
    const parts = [];
    if (video.fps !== null) parts.push(clock(video.length / video.fps));
    parts.push(video.step === null ? plural(video.count, "snippet") : `${plural(video.count, "snippet")} of ${plural(video.step, "frame")}`);
    if (video.fps !== null) parts.push(`${Number(video.fps.toFixed(2))} frames/s`);
    const where = video.frames === null ? "" : `${video.fps === null ? "frame " : ""}${shown(video, border(video, video.peak))}, `;
    parts.push(`highest ${video.scores[video.peak].toFixed(3)} at ${where}snippet ${video.peak.toLocaleString("en")}`);
    byId("facts").textContent = parts.join(" \u00b7 ");
    byId("truth-key").hidden = video.truth === null;
    byId("stage").hidden = video.url === null;
    byId("trouble").hidden = true;
    player.hidden = false;
    if (video.url === null) {
      player.removeAttribute("src");
      player.load();
    } else {
      player.src = video.url;
      if (video.fps !== null) wantedTime = border(video, video.peak) / video.fps + 1e-3;
    }
    tellPosition();
    look(0, video.length);
    showIntervals();
  }

  // The player.

  function cannotPlay() {
    if (current.url === null) return;
    player.hidden = true;
    const trouble = byId("trouble");
    trouble.hidden = false;
    trouble.textContent =
      `This browser can't play ${current.file}: it doesn't know the format, or the file is no longer there, ` +
      "seen from this page. Open the file in a player; the times are the same.";
    redraw();
  }
  player.addEventListener("error", cannotPlay);
  player.addEventListener("loadedmetadata", () => {
    if (!player.videoWidth) return cannotPlay(); // only its sound
    if (wantedTime !== null) player.currentTime = wantedTime;
    wantedTime = null;
    redraw();
  });
  for (const event of ["timeupdate", "seeked"]) player.addEventListener(event, redraw);

  // The plot.

  const pointed = (event) => snippetAt(current, geometry().place(event.clientX - plot.getBoundingClientRect().left));
  plot.addEventListener("pointermove", (event) => { hovered = pointed(event); redraw(); });
  plot.addEventListener("pointerleave", () => { hovered = null; redraw(); });
  plot.addEventListener("click", (event) => seek(pointed(event)));
  plot.addEventListener("focus", redraw);
  plot.addEventListener("blur", redraw);
  plot.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.altKey) return; // the page scrolls
    event.preventDefault();
    zoom(Math.exp(clamp(event.deltaY, -200, 200) / 250), geometry().place(event.clientX - plot.getBoundingClientRect().left));
  }, { passive: false });
  plot.addEventListener("keydown", (event) => {
    const stride = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowLeft: cursor - stride, ArrowDown: cursor - stride, ArrowRight: cursor + stride, ArrowUp: cursor + stride,
      PageDown: cursor - 50, PageUp: cursor + 50, Home: 0, End: current.count - 1,
    };
    if (event.key in moves) seek(moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(.5);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") look(0, current.length);
    else if (event.key === "Enter" || event.key === " ") {
      if (player.readyState && player.paused) player.play();
      else player.pause();
    } else return;
    event.preventDefault();
  });
  byId("closer").addEventListener("click", () => zoom(.5));
  byId("farther").addEventListener("click", () => zoom(2));
  byId("whole").addEventListener("click", () => look(0, current.length));
  byId("pan").addEventListener("input", (event) => look(Number(event.target.value), view[1] - view[0]));
  slider.addEventListener("input", () => { threshold = Number(slider.value); detect(); });

  function refresh() {
    readColours();
    for (const video of videos) {
      video.stale = true;
      if (video.visible) sparkle(video);
    }
    placePictures();
    redraw();
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
  new ResizeObserver(refresh).observe(byId("frame"));

  slider.value = String(threshold);
  byId("rule").textContent =
    "An interval: snippets with this score or more, one after the other" +
    (data.merge_gaps ? `; gaps of up to ${plural(data.merge_gaps, "snippet")} are closed` : "") +
    (data.min_snippets > 1 ? `; at least ${plural(data.min_snippets, "snippet")} long` : "") +
    `. Written by ladnet_fast ${data.version}.`;
  readColours();
  choose(current);
  detect();
}
