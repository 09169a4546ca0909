(function () {
  "use strict";
  var D = JSON.parse(document.getElementById("data").textContent);
  var N = D.events.length;
  // Places in an event, a row and a window; page_data.go writes them.
  var SEQ = 0, KIND = 1, G = 2, OBJ = 3, ROW = 4, ROWS = 5, OFF = 6, LEN = 7, ADDR = 8, STACK = 9, NOEFFECT = 10, TEXT = 11, DATA = 12;
  var W_RISK = 1, W_FROM = 2, W_TO = 3;
  var UNFLUSHED = 1;
  var RISK = ["durable", "not flushed", "flushed or non-temporal, not fenced"];
  var ABOUT = {
    "store": "store", "store-nt": "non-temporal store", "change": "change found", "clwb": "CLWB", "clflushopt": "CLFLUSHOPT", "clflush": "CLFLUSH",
    "dc-cvap": "DC CVAP", "no-flush": "no flush needed", "fence": "fence", "msync": "msync", "fsync": "fsync", "deep-flush": "deep flush",
    "map": "map", "unmap": "unmap", "look": "look at all memory", "mark": "mark"
  };
  var ROWH = 20, LANEH = 18, AXISH = 20, SANS = "600 12px system-ui, sans-serif", MONO = "12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace", MAXPX = 64, MAXLANES = 8, WIDE = 32, MAXWIDTH = 12e6;

  var $ = function (id) { return document.getElementById(id); };
  var view = $("view"), size = $("size"), canvas = $("canvas"), ctx = canvas.getContext("2d"), tip = $("tip"), details = $("details");
  var color = {}, dpr = 1, W = 0, H = 0, labelW = 150, px = 20, printing = false;
  var shownRows = [], place = new Int32Array(D.rows.length), selected = -1, selectedRow = -1, finding = -1, drawing = false, onlyG = -1, onlyObject = -1, lines = 0;

  function kind(e) { return D.kinds[e[KIND]]; }
  function isStore(k) { return k === "store" || k === "store-nt" || k === "change"; }
  function num(x) { return typeof x === "number" ? x : Number(x); }
  function hex(x) { return typeof x === "number" ? "0x" + x.toString(16) : x; }
  function gName(g) { return D.gs[g] === 0 ? "?" : "g " + D.gs[g]; }
  function gColor(g) { return D.gs[g] === 0 ? color.soft : color["g" + g % 8]; }
  function rowName(r) {
    var row = D.rows[r], n = num(row[2]), unit = D.objects[row[0]].unit;
    return n <= unit ? hex(row[1]) : hex(row[1]) + " ×" + n / unit;
  }
  function readColors() {
    var s = getComputedStyle(document.documentElement);
    ["page", "card", "line", "faint", "text", "soft", "focus", "unflushed", "unflushed-edge", "unfenced", "unfenced-edge", "durable", "guilty", "guilty-row", "flush", "sync", "select",
      "g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"].forEach(function (c) { color[c] = s.getPropertyValue("--" + c).trim(); });
  }

  // What each row has: its windows and its events; events of many rows are in wide.
  var rowWindows = D.rows.map(function () { return []; }), rowEvents = D.rows.map(function () { return []; });
  var wide = [], openRows = new Uint8Array(D.rows.length), guiltyRows = new Uint8Array(D.rows.length), written = new Int32Array(D.rows.length).fill(-1);
  D.windows.forEach(function (w) { rowWindows[w[0]].push(w); if (w[W_TO] < 0) { openRows[w[0]] = 1; } });
  D.events.forEach(function (e, i) {
    if (e[ROW] < 0) { return; }
    if (e[ROWS] > WIDE) { wide.push(i); }
    for (var r = e[ROW]; r < e[ROW] + e[ROWS]; r++) {
      if (e[ROWS] <= WIDE) { rowEvents[r].push(i); }
      if (written[r] < 0 && isStore(kind(e)) && !e[NOEFFECT]) { written[r] = i; }
      if (e[ROWS] > WIDE && !isStore(kind(e))) { break; }
    }
  });
  D.guilty.forEach(function (f) { for (var r = f.row; r >= 0 && r < f.row + f.rows; r++) { guiltyRows[r] = 1; } });
  var lanes = Math.min(D.gs.length, MAXLANES);
  var callH = D.guilty.length ? 24 : 0, topH = AXISH + lanes * LANEH + callH + 3;
  function lane(g) { return Math.min(g, lanes - 1); }

  function chooseRows() {
    var which = $("lines").value, last = -1, mine = null;
    onlyObject = $("object").value === "" ? -1 : +$("object").value;
    onlyG = $("goroutine").value === "" ? -1 : +$("goroutine").value;
    if (onlyG >= 0) {
      mine = new Uint8Array(D.rows.length);
      D.events.forEach(function (e) {
        if (e[G] === onlyG && e[ROW] >= 0 && (e[ROWS] <= WIDE || isStore(kind(e)))) { for (var r = e[ROW]; r < e[ROW] + e[ROWS]; r++) { mine[r] = 1; } }
      });
    }
    shownRows = [];
    place.fill(-1);
    lines = 0;
    D.rows.forEach(function (row, r) {
      if (onlyObject >= 0 && row[0] !== onlyObject || which === "open" && !openRows[r] || which === "guilty" && !guiltyRows[r] || mine && !mine[r]) { return; }
      if (row[0] !== last) { last = row[0]; shownRows.push(-1 - row[0]); }
      place[r] = shownRows.length;
      shownRows.push(r);
      lines++;
    });
    layout();
  }
  function shows(e) { return (onlyG < 0 || e[G] === onlyG) && (onlyObject < 0 || e[OBJ] < 0 || e[OBJ] === onlyObject); }

  // Layout: #size has the extent of everything, the canvas that of what is seen.
  function minPx() { return Math.min(40, Math.max(1e-3, (view.clientWidth - labelW - 8) / Math.max(N, 1))); }
  function layout() {
    var narrow = view.clientWidth < 620;
    labelW = narrow ? 104 : 158;
    px = Math.min(Math.max(px, minPx()), MAXPX, MAXWIDTH / Math.max(N, 1));
    var all = topH + shownRows.length * ROWH + 6, bar = labelW + N * px + 8 > view.clientWidth ? 18 : 2;
    var most = printing ? 1500 : Math.max(260, window.innerHeight - 190);
    view.style.height = Math.min(all + bar, most) + "px";
    details.style.maxHeight = printing || window.innerWidth < 992 ? "" : Math.max(most, 260) + "px";
    size.style.width = Math.max(labelW + N * px + 8, view.clientWidth) + "px";
    size.style.height = Math.max(all, view.clientHeight) + "px";
    W = view.clientWidth; H = view.clientHeight;
    dpr = window.devicePixelRatio || 1;
    canvas.width = W * dpr; canvas.height = H * dpr;
    canvas.style.width = W + "px"; canvas.style.height = H + "px";
    $("shown").textContent = [lines < D.rows.length ? lines + " of " + D.rows.length + " rows" : "",
      px < 2.5 ? "fences are drawn as lines when zoomed in" : "", px < 1 ? "events closer than a pixel are drawn as one" : ""].filter(Boolean).join(" · ");
    redraw();
  }
  function redraw() { if (!drawing) { drawing = true; requestAnimationFrame(function () { drawing = false; draw(); }); } }
  function X(i) { return labelW + (i + 0.5) * px - view.scrollLeft; }
  function Y(p) { return topH + p * ROWH - view.scrollTop; }
  function firstAtLeast(list, i, at) {
    var lo = 0, hi = list.length;
    while (lo < hi) { var m = (lo + hi) >> 1; if ((at ? at(list[m]) : list[m]) < i) { lo = m + 1; } else { hi = m; } }
    return lo;
  }

  // glyph draws the sign of a kind around x, y.
  function glyph(c, k, x, y, s, fg, halo) {
    c.beginPath();
    c.lineWidth = 1.6;
    var fill = true;
    switch (k) {
    case "store": c.arc(x, y, s * 0.8, 0, 7); break;
    case "store-nt": c.moveTo(x, y - s * 1.1); c.lineTo(x + s * 1.1, y); c.lineTo(x, y + s * 1.1); c.lineTo(x - s * 1.1, y); c.closePath(); break;
    case "change": c.moveTo(x, y - s); c.lineTo(x + s, y + s * 0.8); c.lineTo(x - s, y + s * 0.8); c.closePath(); break;
    case "clwb": case "clflushopt": case "clflush": case "dc-cvap":
      c.moveTo(x - s, y - s * 0.8); c.lineTo(x + s, y - s * 0.8); c.lineTo(x, y + s); c.closePath(); fill = k === "clflush"; break;
    case "no-flush": c.moveTo(x - s * 0.7, y - s * 0.7); c.lineTo(x + s * 0.7, y + s * 0.7); c.moveTo(x + s * 0.7, y - s * 0.7); c.lineTo(x - s * 0.7, y + s * 0.7); fill = false; break;
    case "msync": case "fsync": c.rect(x - s * 0.8, y - s * 0.8, s * 1.6, s * 1.6); fill = k === "fsync"; break;
    case "deep-flush": c.moveTo(x, y - s); c.lineTo(x, y + s); c.moveTo(x - s * 0.8, y); c.lineTo(x, y + s); c.lineTo(x + s * 0.8, y); fill = false; break;
    case "fence": c.rect(x - 1.5, y - s * 1.2, 3, s * 2.4); break;
    case "map": c.moveTo(x + s * 0.6, y - s); c.lineTo(x - s * 0.5, y - s); c.lineTo(x - s * 0.5, y + s); c.lineTo(x + s * 0.6, y + s); fill = false; break;
    case "unmap": c.moveTo(x - s * 0.6, y - s); c.lineTo(x + s * 0.5, y - s); c.lineTo(x + s * 0.5, y + s); c.lineTo(x - s * 0.6, y + s); fill = false; break;
    case "look": c.arc(x, y, s * 0.9, 0, 7); c.moveTo(x + 1.5, y); c.arc(x, y, 1.2, 0, 7); fill = false; break;
    default: c.moveTo(x - s * 0.5, y + s); c.lineTo(x - s * 0.5, y - s); c.lineTo(x + s, y - s * 0.4); c.lineTo(x - s * 0.5, y + s * 0.2);
    }
    if (halo) { c.save(); c.strokeStyle = halo; c.lineWidth = 3.5; c.lineJoin = "round"; c.stroke(); c.restore(); }
    if (fill) { c.fillStyle = fg; c.fill(); } else {
      if (halo && k !== "no-flush") { c.fillStyle = halo; c.fill(); }
      c.strokeStyle = fg; c.stroke();
    }
    if (k === "clflushopt") { c.beginPath(); c.moveTo(x - s * 0.5, y - s * 0.2); c.lineTo(x + s * 0.5, y - s * 0.2); c.stroke(); }
    if (k === "dc-cvap") { c.beginPath(); c.arc(x, y - s * 0.15, 1.2, 0, 7); c.fillStyle = fg; c.fill(); }
  }
  function kindColor(k, g) {
    if (isStore(k) || k === "mark") { return color.text; }
    if (k === "fence") { return gColor(g); }
    if (k === "msync" || k === "fsync" || k === "deep-flush") { return color.sync; }
    return k === "map" || k === "unmap" || k === "look" || k === "no-flush" ? color.soft : color.flush;
  }

  // bar draws a window's bar: full height is not flushed, half is not fenced.
  function bar(c, risk, x0, x1, y) {
    var w = Math.max(1, x1 - x0);
    if (risk === UNFLUSHED) {
      c.fillStyle = color.unflushed; c.fillRect(x0, y + 4, w, ROWH - 8);
      if (w > 3) { c.fillStyle = color["unflushed-edge"]; c.fillRect(x0, y + 4, 2, ROWH - 8); }
      return;
    }
    c.fillStyle = color.unfenced; c.fillRect(x0, y + 7, w, ROWH - 14);
    if (w > 8) {
      c.save(); c.beginPath(); c.rect(x0, y + 7, w, ROWH - 14); c.clip();
      c.strokeStyle = color["unfenced-edge"]; c.lineWidth = 1; c.beginPath();
      for (var x = x0 - ROWH - ((x0 + view.scrollLeft) % 6); x < x1; x += 6) { if (x > -30) { c.moveTo(x, y + ROWH); c.lineTo(x + ROWH, y); } if (x > W) { break; } }
      c.stroke(); c.restore();
    }
  }

  function draw() {
    ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
    ctx.font = MONO;
    ctx.textBaseline = "middle";
    ctx.fillStyle = color.card; ctx.fillRect(0, 0, W, H);
    var i0 = Math.max(0, Math.floor((view.scrollLeft - 12) / px)), i1 = Math.min(N, Math.ceil((view.scrollLeft + W - labelW + 12) / px));
    var p0 = Math.max(0, Math.floor(view.scrollTop / ROWH)), p1 = Math.min(shownRows.length, Math.ceil((view.scrollTop + H - topH) / ROWH));
    ctx.save(); ctx.beginPath(); ctx.rect(labelW, 0, W - labelW, H); ctx.clip();
    drawRows(i0, i1, p0, p1);
    drawVerticals(i0, i1, p0, p1);
    drawGuilty(p0, p1);
    drawMarks(i0, i1, p0, p1);
    drawTop(i0, i1);
    ctx.restore();
    drawLabels(p0, p1);
  }
  var orders = []; // where a drawn fence made a row durable
  function drawRows(i0, i1, p0, p1) {
    orders = [];
    var end = X(N - 1) + px / 2;
    for (var p = p0; p < p1; p++) {
      var r = shownRows[p], y = Y(p);
      if (r < 0) { ctx.fillStyle = color.faint; ctx.fillRect(labelW, y, W, ROWH); continue; }
      if (guiltyRows[r]) { ctx.fillStyle = color["guilty-row"]; ctx.fillRect(labelW, y, W, ROWH); }
      ctx.fillStyle = color.faint; ctx.fillRect(labelW, y + ROWH - 1, W, 1);
      var ws = rowWindows[r];
      if (written[r] < 0 && !ws.length) { continue; }
      var begin = X(ws.length ? ws[0][W_FROM] : written[r]);
      if (written[r] >= 0 || ws.length) { ctx.fillStyle = color.durable; ctx.fillRect(Math.max(begin, labelW), y + ROWH / 2 - 1, Math.max(0, end - Math.max(begin, labelW)), 2); }
      var k = Math.max(0, firstAtLeast(ws, i0, function (w) { return w[W_FROM]; }) - 1), lastX = -1, lastRisk = 0;
      for (; k < ws.length && ws[k][W_FROM] <= i1; k++) {
        var w = ws[k], x0 = X(w[W_FROM]), x1 = w[W_TO] < 0 ? end : X(w[W_TO]);
        if (x1 < labelW || x1 - x0 < 1 && Math.floor(x0) === lastX && lastRisk <= w[W_RISK]) { continue; }
        lastX = Math.floor(x0); lastRisk = w[W_RISK];
        if (x1 > W + 8) { x1 = W + 8; }
        bar(ctx, w[W_RISK], x0, x1, y);
        if (px >= 2.5 && w[W_TO] >= 0 && x1 < W && kind(D.events[w[W_TO]]) === "fence") { orders.push([w[W_TO], x1, y]); }
        if (w[W_TO] < 0 && end < W + 8) {
          ctx.fillStyle = color["unflushed-edge"]; ctx.beginPath();
          ctx.moveTo(end, y + 4); ctx.lineTo(end + 6, y + ROWH / 2); ctx.lineTo(end, y + ROWH - 4); ctx.fill();
        }
      }
    }
  }
  function drawVerticals(i0, i1, p0, p1) {
    var y1 = Math.min(H, Y(shownRows.length)), last = -9;
    if (selected >= 0) { ctx.fillStyle = color.select; ctx.fillRect(X(selected) - Math.max(px, 8) / 2, 0, Math.max(px, 8), H); }
    for (var i = i0; i < i1 && px >= 2.5; i++) {
      var e = D.events[i], k = kind(e);
      if (k !== "fence" && k !== "look" && k !== "mark" || !shows(e)) { continue; }
      var x = X(i);
      ctx.globalAlpha = k === "fence" ? 0.4 : 0.5;
      ctx.strokeStyle = k === "fence" ? gColor(e[G]) : color.soft;
      ctx.lineWidth = k === "fence" ? Math.min(2, px / 4) : 1;
      ctx.setLineDash(k === "fence" ? [] : [2, 3]);
      ctx.beginPath(); ctx.moveTo(x, topH); ctx.lineTo(x, y1); ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    orders.forEach(function (o) {
      if (!shows(D.events[o[0]])) { return; }
      ctx.fillStyle = gColor(D.events[o[0]][G]); ctx.fillRect(o[1] - 1.5, o[2] + 2, 3, ROWH - 4);
    });
    for (var n = firstAtLeast(wide, i0); n < wide.length && wide[n] < i1; n++) {
      e = D.events[wide[n]]; x = X(wide[n]);
      if (x - last < 2 || !shows(e)) { continue; }
      last = x;
      for (var p = p0; p < p1; p++) {
        if (shownRows[p] >= e[ROW] && shownRows[p] < e[ROW] + e[ROWS]) {
          ctx.globalAlpha = 0.5; ctx.fillStyle = kindColor(kind(e), e[G]); ctx.fillRect(x - 1.5, Y(p), 3, ROWH);
        }
      }
    }
    ctx.globalAlpha = 1;
  }
  function drawMarks(i0, i1, p0, p1) {
    var s = Math.min(5, Math.max(2.5, px / 3));
    for (var p = p0; p < p1; p++) {
      var r = shownRows[p];
      if (r < 0) { continue; }
      var list = rowEvents[r], y = Y(p) + ROWH / 2, last = -9;
      for (var n = firstAtLeast(list, i0); n < list.length && list[n] < i1; n++) {
        var e = D.events[list[n]], x = X(list[n]);
        if (px < 5 && Math.floor(x) === last || !shows(e)) { continue; }
        last = Math.floor(x);
        if (px < 5) {
          ctx.fillStyle = kindColor(kind(e), e[G]);
          ctx.fillRect(Math.floor(x), isStore(kind(e)) ? y - 6 : y, Math.max(1, px / 2), 6);
          continue;
        }
        if (e[NOEFFECT]) { ctx.globalAlpha = 0.4; }
        glyph(ctx, kind(e), x, y, s, kindColor(kind(e), e[G]), color.card);
        ctx.globalAlpha = 1;
        if (list[n] === selected && r === selectedRow) { ctx.strokeStyle = color.focus; ctx.lineWidth = 2; ctx.strokeRect(x - s - 4, y - s - 4, 2 * s + 8, 2 * s + 8); }
      }
    }
  }
  function guiltyX(f) { return labelW + (f.at < 0 ? N : f.at) * px - view.scrollLeft; }
  // drawGuilty points out the guilty rows, up to the event of each; the titles are in the top.
  function drawGuilty(p0, p1) {
    D.guilty.forEach(function (f) {
      var p = f.row < 0 ? -1 : place[f.row], x = guiltyX(f), y = Y(p);
      if (f.row >= 0 && p < 0) { return; }
      ctx.strokeStyle = color.guilty; ctx.fillStyle = color.guilty; ctx.lineWidth = 2;
      if (f.at >= 0 && x > labelW - 2 && x < W + 2) {
        ctx.setLineDash([5, 3]); ctx.beginPath(); ctx.moveTo(x, topH - callH); ctx.lineTo(x, Math.min(H, Y(shownRows.length))); ctx.stroke(); ctx.setLineDash([]);
      }
      if (p < 0 || p >= p1 || p + f.rows < p0) { return; }
      for (var r = f.row; r < f.row + f.rows && r < f.row + 64; r++) {
        rowWindows[r].forEach(function (w) {
          if (w[W_FROM] >= f.at && f.at >= 0 || w[W_TO] >= 0 && (f.at < 0 || w[W_TO] < f.at)) { return; }
          var x0 = Math.max(X(w[W_FROM]), labelW - 4), x1 = Math.min(x, W + 4);
          if (place[r] >= 0 && x1 > x0) { ctx.strokeRect(x0, Y(place[r]) + 2, x1 - x0, ROWH - 4); }
        });
      }
      y += ROWH / 2;
      ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(x + 9, y - 6); ctx.lineTo(x + 9, y + 6); ctx.fill();
    });
  }
  function drawTitles() {
    var top = topH - callH - 1, list = D.guilty.map(function (f, n) { return [guiltyX(f), (D.guilty.length > 1 ? n + 1 + ": " : "") + f.title]; });
    list = list.filter(function (t) { return t[0] > labelW - 2 && t[0] < W + 2; }).sort(function (a, b) { return a[0] - b[0]; });
    ctx.font = SANS;
    for (var n = list.length - 1, limit = W; n >= 0; n--) { // from the right: the rightmost is whole
      var t = list[n], w = ctx.measureText(t[1]).width + 12;
      var left = Math.min(t[0] - 1, Math.max(limit - w, (n > 0 ? list[n - 1][0] : labelW - 22) + 22));
      var room = Math.max(8, limit - left);
      limit = left - 3;
      ctx.save(); ctx.beginPath(); ctx.rect(left, top, Math.min(w, room), 19); ctx.clip();
      ctx.fillStyle = color.guilty; ctx.fillRect(left, top, w, 19);
      ctx.fillStyle = color.card; ctx.fillText(t[1], left + 6, top + 10);
      ctx.restore();
    }
    ctx.font = MONO;
  }
  function drawTop(i0, i1) {
    ctx.fillStyle = color.card; ctx.fillRect(labelW, 0, W, topH);
    ctx.fillStyle = color.line; ctx.fillRect(labelW, topH - 2, W, 1);
    ctx.fillStyle = color.soft;
    var step = 1, units = [1, 2, 5];
    for (var u = 0; step * px < 58; u++) { step = units[u % 3] * Math.pow(10, Math.floor(u / 3)); }
    var shift = N ? num(D.events[0][SEQ]) % step : 0; // round numbers, if none are left out
    for (var i = Math.ceil((i0 + shift) / step) * step - shift; i < i1; i += step) {
      if (i < 0) { continue; }
      ctx.fillRect(X(i) - 0.5, AXISH - 5, 1, 5);
      ctx.textAlign = "center"; ctx.fillText(String(D.events[i][SEQ]), X(i), 8);
    }
    ctx.textAlign = "left";
    var last = [];
    if (selected >= 0) { ctx.fillStyle = color.select; ctx.fillRect(X(selected) - Math.max(px, 8) / 2, 0, Math.max(px, 8), topH - 2); }
    for (i = i0; i < i1; i++) {
      var e = D.events[i], l = lane(e[G]), x = X(i), k = kind(e), y = AXISH + l * LANEH + LANEH / 2;
      if (px < 5 && Math.floor(x) === last[l] || !shows(e)) { continue; }
      last[l] = Math.floor(x);
      ctx.globalAlpha = e[NOEFFECT] ? 0.4 : 1;
      if (px < 5) { ctx.fillStyle = px < 1 ? gColor(e[G]) : kindColor(k, e[G]); ctx.fillRect(Math.floor(x), y - 6, Math.max(1, px / 2), 12); continue; }
      glyph(ctx, k, x, y, Math.min(4.5, px / 3), kindColor(k, e[G]));
      if (k === "mark" && px >= 12) { ctx.fillStyle = color.soft; ctx.fillText(e[TEXT].slice(0, Math.floor(nextInLane(i, l) * px / 7.3)), x + 8, y); }
    }
    ctx.globalAlpha = 1;
    drawTitles();
  }
  function nextInLane(i, l) {
    for (var n = 1; n < 24 && i + n < N; n++) { if (lane(D.events[i + n][G]) === l) { return n - 1; } }
    return 60;
  }
  function drawLabels(p0, p1) {
    ctx.fillStyle = color.card; ctx.fillRect(0, 0, labelW, H);
    ctx.save(); ctx.beginPath(); ctx.rect(0, topH, W, H - topH); ctx.clip();
    for (var p = p0; p < p1; p++) {
      var r = shownRows[p], y = Y(p);
      if (r < 0) {
        var o = D.objects[-1 - r], name = o.name, room = Math.floor((W - 16) / 7.3);
        ctx.fillStyle = color.faint; ctx.fillRect(0, y, W, ROWH);
        if (name.length > room) { name = "…" + name.slice(1 - room); }
        ctx.fillStyle = color.text; ctx.font = "600 " + MONO;
        ctx.fillText(name, 8, y + ROWH / 2 + 0.5);
        ctx.font = MONO;
        continue;
      }
      if (guiltyRows[r]) { ctx.fillStyle = color["guilty-row"]; ctx.fillRect(0, y, labelW, ROWH); }
      ctx.fillStyle = color.faint; ctx.fillRect(0, y + ROWH - 1, labelW, 1);
      ctx.fillStyle = guiltyRows[r] ? color.guilty : openRows[r] ? color.text : color.soft;
      if (guiltyRows[r]) { ctx.beginPath(); ctx.moveTo(6, y + 5); ctx.lineTo(13, y + ROWH / 2); ctx.lineTo(6, y + ROWH - 5); ctx.fill(); }
      ctx.textAlign = "right"; ctx.fillText(rowName(r), labelW - 8, y + ROWH / 2 + 0.5); ctx.textAlign = "left";
    }
    ctx.restore();
    ctx.fillStyle = color.soft; ctx.textAlign = "right"; ctx.fillText("event", labelW - 8, 8);
    for (var l = 0; l < lanes; l++) {
      ctx.fillStyle = gColor(l);
      ctx.fillText(l === lanes - 1 && D.gs.length > lanes ? "others" : gName(l), labelW - 8, AXISH + l * LANEH + LANEH / 2);
    }
    ctx.textAlign = "left";
    ctx.fillStyle = color.line; ctx.fillRect(labelW - 1, 0, 1, Math.max(topH, Math.min(H, Y(shownRows.length)))); ctx.fillRect(0, topH - 2, labelW, 1);
    if (!N) { ctx.fillStyle = color.soft; ctx.fillText("The log has no events.", 12, topH + 14); }
  }

  // rowAt and eventAt find what is drawn at a place of the canvas.
  function rowAt(y) {
    var r = y < topH ? undefined : shownRows[Math.floor((y - topH + view.scrollTop) / ROWH)];
    return r === undefined || r < 0 ? -1 : r;
  }
  function touches(e, r) { return e[ROW] >= 0 && r >= e[ROW] && r < e[ROW] + e[ROWS]; }
  function eventAt(x, y) {
    var r = rowAt(y), at = (x - labelW + view.scrollLeft) / px - 0.5, reach = Math.max(0.5, 7 / px), best = -1, far = reach;
    if (x < labelW) { return -1; }
    var l = y >= AXISH && y < topH - callH - 3 ? Math.floor((y - AXISH) / LANEH) : -1;
    for (var i = Math.max(0, Math.ceil(at - reach)); i < N && i <= at + reach; i++) {
      var e = D.events[i], k = kind(e);
      if (!shows(e) || !(r >= 0 && touches(e, r) || l >= 0 && lane(e[G]) === l || l < 0 && px >= 2.5 && (k === "fence" || k === "mark" || k === "look"))) { continue; }
      var d = Math.abs(i - at) + (r >= 0 && !touches(e, r) ? reach / 2 : 0);
      if (d <= far) { far = d; best = i; }
    }
    return best;
  }
  function windowAt(r, x) {
    var at = (x - labelW + view.scrollLeft) / px - 0.5;
    return rowWindows[r].find(function (w) { return w[W_FROM] <= at && (w[W_TO] < 0 || at <= w[W_TO]); });
  }
  function seq(i) { return "#" + D.events[i][SEQ]; }
  function span(w) { return w[W_TO] < 0 ? "from " + seq(w[W_FROM]) + " to the end" : "from " + seq(w[W_FROM]) + " to " + seq(w[W_TO]); }
  function range(e) {
    if (e[OBJ] < 0) { return ""; }
    return num(e[LEN]) === 0 ? hex(e[OFF]) : hex(e[OFF]) + " + " + e[LEN];
  }
  function oneLine(i) {
    var e = D.events[i], s = seq(i) + " " + ABOUT[kind(e)] + ", " + gName(e[G]);
    if (e[OBJ] >= 0) { s += "\n" + D.objects[e[OBJ]].name + " " + range(e); }
    if (e[NOEFFECT]) { s += "\nno effect"; }
    if (e[TEXT]) { s += "\n" + e[TEXT]; }
    if (e[STACK] >= 0) { s += "\n" + D.frames[D.stacks[e[STACK]][0]].split("\n")[1]; }
    return s;
  }

  function add(parent, tag, text, cls) {
    var x = document.createElement(tag);
    if (text !== undefined) { x.textContent = text; }
    if (cls) { x.className = cls; }
    parent.appendChild(x);
    return x;
  }
  function bytes(e) {
    var out = [], s = e[DATA] || "";
    for (var i = 0; i < s.length; i += 2) { out.push(parseInt(s.substr(i, 2), 16)); }
    return out;
  }
  // before returns the bytes that event i's were, from the stores before; undefined is unknown.
  function before(i, n) {
    var e = D.events[i], off = num(e[OFF]), old = new Array(n), left = n;
    for (var j = i - 1; j >= 0 && left > 0; j--) {
      var f = D.events[j];
      if (f[OBJ] !== e[OBJ] || !isStore(kind(f)) || num(f[OFF]) >= off + n || num(f[OFF]) + num(f[LEN]) <= off) { continue; }
      bytes(f).forEach(function (b, k) {
        var at = num(f[OFF]) + k - off;
        if (at >= 0 && at < n && old[at] === undefined) { old[at] = b; left--; }
      });
    }
    return old;
  }
  function dump(parent, i) {
    var e = D.events[i], now = bytes(e), old = before(i, now.length), off = num(e[OFF]), changed = 0, known = 0;
    now.forEach(function (b, k) { if (old[k] !== undefined) { known++; if (old[k] !== b) { changed++; } } });
    add(parent, "h3", "Bytes" + (known ? ": " + changed + " of " + known + " known before are different" : ""));
    var pre = add(parent, "pre");
    for (var at = 0; at < now.length; at += 8) {
      pre.appendChild(document.createTextNode(hex(off + at).padStart(8) + " "));
      var text = "";
      for (var k = at; k < at + 8; k++) {
        if (k >= now.length) { pre.appendChild(document.createTextNode("   ")); continue; }
        pre.appendChild(document.createTextNode(" "));
        var h = now[k].toString(16).padStart(2, "0");
        if (old[k] !== undefined && old[k] !== now[k]) { add(pre, "mark", h).title = "was " + old[k].toString(16).padStart(2, "0"); } else { pre.appendChild(document.createTextNode(h)); }
        text += now[k] >= 32 && now[k] < 127 ? String.fromCharCode(now[k]) : "·";
      }
      pre.appendChild(document.createTextNode("  " + text + "\n"));
    }
    var more = num(e[LEN]) - now.length;
    if (more > 0) { add(parent, "p", "This page doesn't hold the other " + more + " bytes.", "soft"); }
  }
  // effect says which windows the event ended and began.
  function effect(parent, i) {
    var groups = {}, order = [], total = 0;
    D.windows.forEach(function (w) {
      var say = null;
      if (w[W_TO] === i) {
        var next = rowWindows[w[0]].find(function (v) { return v[W_FROM] === i; });
        say = next ? "Now " + RISK[next[W_RISK]] : "Durable from here on";
      } else if (w[W_FROM] === i && !rowWindows[w[0]].some(function (v) { return v[W_TO] === i; })) {
        say = "Now " + RISK[w[W_RISK]];
      }
      if (say) { total++; if (!groups[say]) { groups[say] = []; order.push(say); } groups[say].push(w[0]); }
    });
    order.forEach(function (say) {
      add(parent, "h3", say);
      add(parent, "div", groups[say].slice(0, 24).map(rowName).join(", ") + (groups[say].length > 24 ? " and " + (groups[say].length - 24) + " more rows" : ""), "mono");
    });
    var e = D.events[i], k = kind(e);
    if (!total && !e[NOEFFECT] && (k === "fence" || k === "clwb" || k === "clflushopt" || k === "clflush" || k === "dc-cvap" || k === "msync" || k === "fsync")) {
      add(parent, "p", "It changed nothing for any line.", "soft");
    }
  }
  function show(i) {
    details.textContent = "";
    if (i < 0) {
      add(details, "p", N ? "Choose an event to see what it is, what it stored and who called." : "There's nothing to choose.", "soft");
      return;
    }
    var e = D.events[i], k = kind(e), h = add(details, "h2");
    h.appendChild(icon(k, e[G]));
    add(h, "span", seq(i) + " " + ABOUT[k]);
    D.guilty.forEach(function (f) { if (f.at === i) { add(details, "p", f.title, "wrong"); if (f.text) { add(details, "p", f.text); } } });
    if (e[NOEFFECT]) { add(details, "p", "It can do nothing for what is on the media.", "wrong"); }
    var dl = add(details, "dl");
    function item(name, value, cls) { add(dl, "dt", name); add(dl, "dd", value, cls); }
    if (e[TEXT]) { item("Text", e[TEXT]); }
    item("Goroutine", D.gs[e[G]] === 0 ? "unknown" : String(D.gs[e[G]]));
    if (e[OBJ] >= 0) { item("Object", D.objects[e[OBJ]].name, "mono"); item("Offset", hex(e[OFF]), "mono"); }
    if (num(e[LEN])) { item("Length", e[LEN] + " bytes"); }
    if (e[ADDR] !== "0x0") { item("Address", e[ADDR], "mono"); }
    if (selectedRow >= 0 && touches(e, selectedRow) && e[ROWS] > 1) { item("Line", rowName(selectedRow), "mono"); }
    effect(details, i);
    if (e[DATA]) { dump(details, i); } else if (isStore(k) && num(e[LEN])) { add(details, "p", "This page doesn't hold the bytes.", "soft"); }
    if (e[STACK] >= 0) {
      add(details, "h3", "Called by");
      var ol = add(details, "ol");
      D.stacks[e[STACK]].forEach(function (f) {
        var parts = D.frames[f].split("\n"), li = add(ol, "li");
        add(li, "div", parts[1], "mono"); add(li, "div", parts[0], "soft mono");
      });
    }
  }
  function select(i, r, scroll) {
    selected = i;
    selectedRow = i < 0 ? -1 : r !== undefined && r >= 0 ? r : D.events[i][ROW];
    show(i);
    if (scroll && i >= 0) { reveal(i, selectedRow); }
    redraw();
  }
  function reveal(i, r) {
    var x = (i + 0.5) * px, room = W - labelW;
    if (x < view.scrollLeft + 20 || x > view.scrollLeft + room - 20) { view.scrollLeft = x - room / 2; }
    if (r >= 0 && place[r] >= 0) {
      var y = place[r] * ROWH;
      if (y < view.scrollTop || y + 3 * ROWH > view.scrollTop + H - topH) { view.scrollTop = y - (H - topH) / 2; }
    }
  }
  function zoom(to, x) {
    var at = (x - labelW + view.scrollLeft) / px;
    px = Math.min(MAXPX, Math.max(to, minPx()));
    layout();
    view.scrollLeft = at * px - (x - labelW);
    redraw();
  }
  function step(by, row) {
    var i = selected;
    do { i += by; } while (i >= 0 && i < N && (!shows(D.events[i]) || row >= 0 && !touches(D.events[i], row)));
    if (i >= 0 && i < N) { select(i, row, true); }
  }
  function otherLine(by) {
    var p = selectedRow >= 0 ? place[selectedRow] : -1;
    do { p += by; } while (p >= 0 && p < shownRows.length && shownRows[p] < 0);
    if (p < 0 || p >= shownRows.length) { return; }
    var list = rowEvents[shownRows[p]];
    if (!list.length) { return; }
    var n = firstAtLeast(list, Math.max(selected, 0));
    if (n === list.length || n > 0 && selected - list[n - 1] < list[n] - selected) { n--; }
    select(list[n], shownRows[p], true);
  }
  function showFinding(n) {
    if (!D.guilty.length) { return; }
    finding = (n + D.guilty.length) % D.guilty.length;
    var f = D.guilty[finding];
    if (f.row >= 0 && place[f.row] < 0) { $("object").value = ""; $("lines").value = "all"; $("goroutine").value = ""; chooseRows(); }
    if (px < 8) { px = Math.min(20, MAXWIDTH / N); layout(); }
    var at = f.at >= 0 ? Math.min(f.at, N - 1) : N - 1;
    if (f.at < 0 && f.row >= 0 && rowEvents[f.row].length) { at = rowEvents[f.row][rowEvents[f.row].length - 1]; }
    if (N) { select(at, f.row >= 0 && touches(D.events[at], f.row) ? f.row : -1, false); reveal(at, f.row); }
  }

  function icon(k, g) {
    var c = document.createElement("canvas"), s = window.devicePixelRatio || 1;
    c.width = 20 * s; c.height = 16 * s; c.style.width = "20px"; c.style.height = "16px"; c.setAttribute("aria-hidden", "true");
    var x = c.getContext("2d"); x.scale(s, s);
    if (typeof k === "number") {
      x.translate(0, -2);
      if (k === 0) { x.fillStyle = color.durable; x.fillRect(0, 9, 20, 2); } else { bar(x, k, 0, 20, 0); }
    } else { glyph(x, k, 10, 8, 5, kindColor(k, g)); }
    return c;
  }
  function legend() {
    var list = $("legend"), seen = {};
    list.textContent = "";
    [1, 2, 0].forEach(function (r) { var li = add(list, "li"); li.appendChild(icon(r)); add(li, "span", RISK[r]); });
    D.events.forEach(function (e) { if (seen[e[KIND]] === undefined) { seen[e[KIND]] = e[G]; } });
    D.kinds.forEach(function (k, n) {
      if (seen[n] === undefined) { return; }
      var li = add(list, "li"); li.appendChild(icon(k, seen[n])); add(li, "span", ABOUT[k] + (k === "fence" ? ", in its goroutine's colour" : ""));
    });
    if (D.events.some(function (e) { return e[NOEFFECT]; })) { add(list, "li", "pale: without effect"); }
  }

  view.addEventListener("scroll", redraw);
  window.addEventListener("resize", layout);
  ["object", "lines", "goroutine"].forEach(function (id) { $(id).addEventListener("input", chooseRows); });
  $("in").addEventListener("click", function () { zoom(px * 1.6, (W + labelW) / 2); });
  $("out").addEventListener("click", function () { zoom(px / 1.6, (W + labelW) / 2); });
  $("fit").addEventListener("click", function () { zoom(0, labelW); });
  $("seek").addEventListener("change", function () {
    var want = Number(this.value.replace(/^#/, ""));
    if (this.value === "" || isNaN(want) || !N) { return; }
    if (px < 8) { px = Math.min(20, MAXWIDTH / N); layout(); }
    select(Math.min(N - 1, firstAtLeast(D.events, want, function (e) { return num(e[SEQ]); })), -1, true);
  });
  Array.from(document.querySelectorAll(".show")).forEach(function (b, n) { b.addEventListener("click", function () { showFinding(n); view.focus({ preventScroll: true }); }); });
  canvas.addEventListener("mousemove", function (m) {
    var i = eventAt(m.offsetX, m.offsetY), r = rowAt(m.offsetY), w = i < 0 && r >= 0 && m.offsetX > labelW ? windowAt(r, m.offsetX) : null;
    tip.hidden = i < 0 && !w;
    canvas.style.cursor = i < 0 ? "" : "pointer";
    if (tip.hidden) { return; }
    tip.textContent = i >= 0 ? oneLine(i) : rowName(r) + " " + RISK[w[W_RISK]] + "\n" + span(w);
    tip.style.left = Math.max(4, Math.min(m.clientX + 14, window.innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(m.clientY + 16, window.innerHeight - tip.offsetHeight - 8)) + "px";
  });
  canvas.addEventListener("mouseleave", function () { tip.hidden = true; });
  canvas.addEventListener("click", function (m) { select(eventAt(m.offsetX, m.offsetY), rowAt(m.offsetY), false); view.focus({ preventScroll: true }); });
  view.addEventListener("wheel", function (w) {
    if (!w.ctrlKey) { return; }
    w.preventDefault();
    zoom(px * Math.pow(1.0025, -w.deltaY), Math.max(labelW, w.clientX - view.getBoundingClientRect().left));
  }, { passive: false });
  document.addEventListener("keydown", function (k) {
    if (/^(INPUT|SELECT)$/.test(document.activeElement.tagName) || k.ctrlKey || k.metaKey || k.altKey) { return; }
    var inView = document.activeElement === view || document.activeElement === document.body;
    switch (k.key) {
    case "ArrowRight": if (!inView) { return; } step(k.shiftKey ? 10 : 1, -1); break;
    case "ArrowLeft": if (!inView) { return; } if (selected < 0) { selected = N; } step(k.shiftKey ? -10 : -1, -1); break;
    case "ArrowDown": if (!inView) { return; } otherLine(1); break;
    case "ArrowUp": if (!inView) { return; } otherLine(-1); break;
    case "Home": if (!inView) { return; } selected = -1; step(1, -1); break;
    case "End": if (!inView) { return; } selected = N; step(-1, -1); break;
    case "+": case "=": zoom(px * 1.6, selected >= 0 ? Math.max(labelW, Math.min(W, X(selected))) : (W + labelW) / 2); break;
    case "-": zoom(px / 1.6, selected >= 0 ? Math.max(labelW, Math.min(W, X(selected))) : (W + labelW) / 2); break;
    case "0": zoom(0, labelW); break;
    case "n": showFinding(finding + 1); break;
    case "p": showFinding(finding - 1); break;
    case "/": $("seek").focus(); break;
    case "Escape": select(-1); break;
    default: return;
    }
    k.preventDefault();
  });
  function print(on) { printing = on; readColors(); layout(); draw(); }
  window.addEventListener("beforeprint", function () { print(true); });
  window.addEventListener("afterprint", function () { print(false); });
  window.matchMedia("print").addEventListener("change", function (m) { print(m.matches); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", function () { readColors(); legend(); show(selected); redraw(); });

  readColors();
  legend();
  chooseRows();
  px = minPx(); // all of it
  layout();
  show(-1);
  if (D.guilty.length) { showFinding(0); } 
})();
