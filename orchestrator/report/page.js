'use strict';
(function () {
  var dark = window.matchMedia('screen and (prefers-color-scheme: dark)');
  var onDark = JSON.parse(document.getElementById('dark-colours').textContent);
  var printWidth = 680;

  // Figures: drawn when they come near the window, in the colours of the page, and saved in light ones.
  function sourceOf(id) { return document.querySelector('script[data-figure="' + id + '"]'); }
  function content(id, isDark) {
    var text = sourceOf(id).textContent;
    if (isDark) {
      text = text.replace(/"(#[0-9a-f]{6})((?:[0-9a-f]{2})?)"/gi, function (whole, colour, alpha) {
        return '"' + (onDark[colour.toLowerCase()] || colour) + alpha + '"';
      });
    }
    return JSON.parse(text);
  }
  function draw(id, isDark, width) {
    var figure = content(id, isDark);
    if (width) { figure.layout.width = width; }
    document.getElementById(id).dataset.drawn = 'yes';
    Plotly.react(id, figure.data, figure.layout, {responsive: true, displayModeBar: false});
  }
  var ids = Array.from(document.querySelectorAll('script[data-figure]')).map(function (one) { return one.dataset.figure; });
  var seen = new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) {
      if (!entry.isIntersecting) { return; }
      seen.unobserve(entry.target);
      draw(entry.target.id, dark.matches);
    });
  }, {rootMargin: '600px'});
  ids.forEach(function (id) { seen.observe(document.getElementById(id)); });
  function drawAgain() {
    ids.forEach(function (id) {
      if (document.getElementById(id).dataset.drawn) { draw(id, dark.matches); }
    });
  }
  dark.addEventListener('change', drawAgain);
  window.addEventListener('beforeprint', function () {
    ids.forEach(function (id) { seen.unobserve(document.getElementById(id)); draw(id, false, printWidth); });
  });
  window.addEventListener('afterprint', drawAgain);

  document.querySelectorAll('.save').forEach(function (line) {
    line.hidden = false;
    line.querySelectorAll('button').forEach(function (button) {
      button.addEventListener('click', function () {
        var id = button.dataset.save, figure = content(id, false), layout = figure.layout;
        var named = figure.data.filter(function (trace) { return trace.name && trace.showlegend !== false; });
        layout.paper_bgcolor = layout.plot_bgcolor = '#ffffff';
        layout.height += 60;
        layout.margin.t += 60;
        layout.showlegend = named.length > 1;
        layout.legend = {orientation: 'h', x: 0, y: 1, yref: 'container', yanchor: 'top', traceorder: 'normal'};
        layout.width = 960;
        Plotly.downloadImage({data: figure.data, layout: layout}, {
          format: button.dataset.format, filename: line.dataset.name, width: layout.width, height: layout.height,
          scale: button.dataset.format === 'png' ? 2 : 1
        });
      });
    });
  });

  // Tables: sorted by the heading, searched where they are long, and with a cue where columns are out of sight.
  function key(cell) {
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  }
  function compare(one, other) {
    if (typeof one === 'number' && typeof other === 'number') { return one - other; }
    if (typeof one !== typeof other) { return typeof one === 'number' ? -1 : 1; }
    return one.localeCompare(other, 'en', {numeric: true});
  }
  function sortBy(table, index) {
    var heads = Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells), head = heads[index];
    var way = head.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
    heads.forEach(function (one) { one.removeAttribute('aria-sort'); });
    head.setAttribute('aria-sort', way);
    var body = table.tBodies[0];
    var keyed = Array.from(body.rows).map(function (row) { return [key(row.cells[index]), row]; });
    keyed.sort(function (one, other) { return compare(one[0], other[0]) * (way === 'ascending' ? 1 : -1); });
    var rows = document.createDocumentFragment();
    keyed.forEach(function (pair) { rows.appendChild(pair[1]); });
    body.appendChild(rows);
  }
  document.querySelectorAll('table[data-sorts]').forEach(function (table) {
    Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells).forEach(function (head, index) {
      var button = document.createElement('button');
      button.type = 'button';
      button.title = 'Sort by ' + head.textContent;
      button.append.apply(button, Array.from(head.childNodes));
      button.addEventListener('click', function () { sortBy(table, index); });
      head.appendChild(button);
    });
  });
  document.querySelectorAll('.find').forEach(function (line) {
    var table = document.getElementById(line.dataset.table), rows = Array.from(table.tBodies[0].rows);
    var field = line.querySelector('input'), choices = Array.from(line.querySelectorAll('select'));
    var count = line.querySelector('[aria-live]'), texts = null;
    choices.forEach(function (choice) {
      var index = Number(choice.dataset.column);
      Array.from(new Set(rows.map(function (row) { return row.cells[index].textContent; }))).sort().forEach(function (text) {
        choice.add(new Option(text, text));
      });
    });
    function find() {
      texts = texts || rows.map(function (row) {
        return Array.from(row.cells).map(function (cell) { return cell.textContent; }).join('\n').toLowerCase();
      });
      var words = field.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
      rows.forEach(function (row, number) {
        var fits = words.every(function (word) { return texts[number].includes(word); }) && choices.every(function (choice) {
          return !choice.value || row.cells[Number(choice.dataset.column)].textContent === choice.value;
        });
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      count.textContent = shown.toLocaleString('en') + ' of ' + rows.length.toLocaleString('en') + ' rows';
    }
    field.addEventListener('input', find);
    choices.forEach(function (choice) { choice.addEventListener('change', find); });
    line.hidden = false;
  });
  function cue(frame) {
    var box = frame.firstElementChild;
    frame.classList.toggle('has-more', box.scrollWidth - box.clientWidth - box.scrollLeft > 4);
  }
  var frames = Array.from(document.querySelectorAll('.frame'));
  var sized = new ResizeObserver(function (entries) { entries.forEach(function (entry) { cue(entry.target); }); });
  frames.forEach(function (frame) {
    sized.observe(frame);
    frame.firstElementChild.addEventListener('scroll', function () { cue(frame); }, {passive: true});
  });
})();
