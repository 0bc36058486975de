'use strict';
const POLL_MS = 1000, ANSWER_MS = 5000;
const SVG = 'http://www.w3.org/2000/svg';
const STATES = {
  loading: 'Running', stopping: 'Stopping', indexes: 'Finishing', away: 'Waiting', stalled: 'Waiting', waiting: 'Waiting',
  complete: 'Complete', rejects: 'Complete, with rejects', interrupted: 'Interrupted', failed: 'Failed', reject_limit: 'Stopped',
};
const ALERTS = ['away', 'failed', 'reject_limit', 'interrupted'];
/* Rejects alone are amber: everything else is stored. So is a stall, which can end by itself. */
const isWarning = (status) => status.state === 'stalled' || !ALERTS.includes(status.state) && status.rejects.file !== null;
const OUTCOMES = [
  ['inserted', 'Inserted'], ['updated', 'Updated'], ['duplicate', 'Duplicate'], ['already_loaded', 'Already loaded'],
  ['rejected', 'Rejected'], ['unfinished', 'Pending'],
];
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const number = (value) => whole.format(value);
const counted = (value, what) => `${number(value)} ${what}${value === 1 ? '' : 's'}`;

/* All text enters the page through this function, so that none is parsed as HTML. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function show(id, text) {
  write(byId(id), text || '');
  byId(id).hidden = !text;
}

function bytes(value) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit === 0 ? number(value) : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}

function time(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60), two = (value) => String(Math.floor(value)).padStart(2, '0');
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  return `${number(Math.floor(minutes / 60))} h ${two(minutes % 60)} min`;
}

function moment(text) {
  const local = new Date(text);
  return local.toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit', second: '2-digit'});
}

/* Writes the rows of a table's body. A cell is [text, class, tag]; a null text leaves the cell to its caller. */
function rows(id, list) {
  const body = byId(id);
  while (body.rows.length > list.length) body.deleteRow(-1);
  list.forEach((cells, index) => {
    const row = body.rows[index] || body.insertRow();
    cells.forEach(([text, name, tag], place) => {
      let cell = row.cells[place];
      if (!cell) {
        cell = row.appendChild(document.createElement(tag || 'td'));
        if (tag === 'th') cell.scope = 'row';
        if (name) cell.className = name;
      }
      if (text !== null) write(cell, text);
    });
  });
}

function counts(status) {
  const some = OUTCOMES.filter(([key]) => status[key] > 0);
  const list = some.length ? some : OUTCOMES.slice(0, 1);
  rows('counts', list.map(([key, name]) => {
    const label = key !== 'unfinished' ? name : !status.database ? 'Can be loaded' : status.finished ? 'Unfinished' : name;
    return [[label, '', 'th'], [number(status[key]), 'number'], [null, 'share']];
  }));
  list.forEach(([key], index) => {
    const cell = byId('counts').rows[index].cells[2];
    const share = status.events ? status[key] / status.events : 0;
    const bar = cell.firstChild || cell.appendChild(document.createElement('span'));
    bar.className = key === 'rejected' ? 'bar rejects' : 'bar';
    bar.hidden = share === 0;
    bar.style.width = `${100 * share}%`;
    bar.title = `${(100 * share).toFixed(1)} %`;
  });
  write(byId('events'), number(status.events));
}

function writers(status) {
  byId('writers-section').hidden = status.finished;
  const isRead = status.bytes_total && status.bytes_read >= status.bytes_total;
  const doing = (writer) => ({
    waiting: status.segments_awaited ? 'waiting for segments claimed by other loads'
      : status.database && status.database.outage ? 'idle during the outage' : isRead ? 'idle: the input is read' : 'waiting for a segment',
    waiting_for_turn: `segment ${number(writer.segment)}: waiting for an earlier segment with the same event`,
    waiting_for_database: `holding segment ${number(writer.segment)} until the database is available`,
    writing: `writing segment ${number(writer.segment)}, ${counted(writer.events, 'event')}`,
    writing_rejects: `writing the rejects of segment ${number(writer.segment)}`,
    ended: 'done',
  })[writer.doing] || writer.doing;
  rows('writers', status.writers.map((writer, index) => [
    [number(index + 1), '', 'th'], [doing(writer)], [writer.doing === 'ended' ? '' : time(writer.seconds), 'number'],
  ]));
  const skipped = status.segments_skipped ? `, ${number(status.segments_skipped)} of them already loaded` : '';
  write(byId('queue'), `${counted(status.queue_depth, 'segment')} ready or being written; ${number(status.segments)} read${skipped}`);
}

function database(status) {
  const about = status.database;
  document.querySelectorAll('.of-database').forEach((element) => { element.hidden = !about; });
  if (!about) return;
  byId('pool-section').hidden = status.finished;
  const {pool, retries} = about;
  const values = (id, list) => rows(id, list.map(([name, value]) => [[name, '', 'th'], [value, 'number']]));
  const positive = (name, value) => (value ? [[name, number(value)]] : []);
  values('pool', [
    ['In use', number(pool.active)], ['Idle', number(pool.idle)], ['Open', `${number(pool.total)} of ${number(pool.max)}`],
    ...positive('Waiting threads', pool.waiting), ...positive('Connection errors', about.connection_errors),
  ]);
  const {outage, stall} = about;
  const health = outage ? `${outage.kind} for ${time(outage.seconds)}` : stall ? `no answer for ${time(stall.seconds)}`
    : about.healthy ? 'healthy' : 'unhealthy';
  values('database', [
    ['Health', health], ['Last check', about.last_check ? moment(about.last_check) : 'not yet'],
    ...(about.latency_ms === null ? [] : [['Latency', `${about.latency_ms.toFixed(2)} ms`]]),
    ...positive('Retries after outages', retries.away), ...positive('Retries after transient errors', retries.transient),
  ]);
  byId('database').rows[0].cells[1].classList.toggle('alert-text', health !== 'healthy');
  const total = about.outages_total;
  const kept = about.outages.length < total ? `; the last ${number(about.outages.length)} are listed` : '';
  byId('outages-section').hidden = !total;
  write(byId('outages-summary'), `${counted(total, 'outage')}, ${time(about.outages_seconds)} in total${kept}.`);
  rows('outages', about.outages.slice().reverse().map((outage) => [
    [moment(outage.began), '', 'th'], [time(outage.seconds) + (outage.over || status.finished ? '' : ' so far'), 'number'], [outage.cause, 'wide'],
  ]));
}

function rejects(status) {
  const {kinds, others, file} = status.rejects;
  byId('rejects-section').hidden = !kinds.length;
  write(byId('rejects-summary'), file ? `The reject file ${file.name} contains each rejected event completely. To list the rejects:` : '');
  show('rejects-command', file ? file.list_command : '');
  const reason = (kind) => [kind.field, kind.reason].filter(Boolean).join(': ') + (kind.sqlstate ? ` (SQLSTATE ${kind.sqlstate})` : '');
  const place = ({source, line, index}) => `${source}, line ${number(line)}` + (index === null ? '' : `, element ${number(index)}`);
  const list = kinds.map((kind) => [[number(kind.count), 'number'], [reason(kind), 'wide'], [place(kind.last), 'place']]);
  if (others) list.push([[number(others), 'number'], ['other reasons', 'wide'], ['', 'place']]);
  rows('rejects', list);
}

function progress(status) {
  const {bytes_read: read, bytes_total: total, rates} = status;
  const bar = byId('progress');
  bar.hidden = !total;
  if (total) bar.value = Math.min(1, read / total);
  const facts = [total ? `${bytes(read)} of ${bytes(total)} read` : `${bytes(read)} read`];
  if (total) facts.push(`${Math.min(100, Math.floor(100 * read / total))} %`);
  if (status.bytes_uncompressed > read) facts.push(`${bytes(status.bytes_uncompressed)} of text`);
  const left = status.seconds_left;
  if (left !== null) facts.push(`about ${left < 10 ? `${Math.max(1, left)} s` : time(left)} left`);
  write(byId('bytes'), facts.join(' · '));
  const mean = (value) => value / Math.max(status.elapsed_seconds, .001);
  /* Without a database, an event is settled when it is read. */
  const settled = status.database ? status.events - status.unfinished : status.events;
  const now = status.finished
    ? [mean(settled), mean(status.bytes_uncompressed)] : [rates.events_per_second, rates.bytes_uncompressed_per_second];
  const mb = now[1] / 1e6;
  write(byId('events-rate'), number(now[0]));
  write(byId('bytes-rate-unit'), status.bytes_uncompressed > read ? 'MB of text per second' : 'MB per second');
  write(byId('bytes-rate'), mb < 100 ? mb.toFixed(1) : number(mb));
  write(byId('settled'), number(settled));
  write(byId('elapsed'), time(status.elapsed_seconds));
}

/* Returns the grid step: 1, 2 or 5 times a power of ten, with at most four steps up to the maximum. */
function step(most) {
  let size = 10 ** Math.floor(Math.log10(Math.max(most, 1) / 4));
  for (const factor of [2, 2.5, 2]) if (most / size > 4) size *= factor;
  return Math.max(size, 1);
}

/* Returns the events per second at each sample. Samples one second apart are averaged over two, because segments commit at once. */
function speeds({seconds, events, interval_seconds: interval}) {
  const span = interval < 2 ? 2 : 1;
  const points = [];
  for (let at = 1; at < seconds.length; at += 1) {
    const from = Math.max(0, at - span);
    const passed = seconds[at] - seconds[from];
    if (passed > 0) points.push([seconds[at], (events[at] - events[from]) / passed]);
  }
  if (points.length) points.unshift([0, points[0][1]]);
  return points;
}

let latest = null;

function chart() {
  if (!latest) return;
  const svg = byId('chart'), width = svg.clientWidth, height = svg.clientHeight;
  const points = speeds(latest.history);
  const end = Math.max(points.length ? points[points.length - 1][0] : 0, 1);
  const size = step(Math.max(...points.map(([, speed]) => speed), 1));
  const top = size * Math.ceil(Math.max(...points.map(([, speed]) => speed), 1) / size);
  const left = 9 + 7 * number(top).length, right = width - 4, bottom = height - 24;
  const x = (seconds) => left + (right - left) * Math.min(1, Math.max(0, seconds / end));
  const y = (speed) => bottom - (bottom - 8) * speed / top;
  const list = [];
  const add = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text) element.textContent = text;
    list.push(element);
  };
  const away = latest.database ? latest.database.outages : [];
  for (const outage of away) {
    const from = x(outage.run_seconds);
    const to = outage.over ? x(outage.run_seconds + outage.seconds) : right;
    add('rect', {class: 'outage', x: from, y: 8, width: Math.max(2, to - from), height: bottom - 8});
  }
  for (let speed = 0; speed <= top; speed += size) {
    add('line', {class: 'grid', x1: left, x2: right, y1: y(speed), y2: y(speed)});
    add('text', {x: left - 8, y: y(speed) + 4, 'text-anchor': 'end'}, number(speed));
  }
  add('text', {x: left, y: height - 4}, '0 s');
  if (width > 500) add('text', {x: (left + right) / 2, y: height - 4, 'text-anchor': 'middle'}, time(end / 2));
  add('text', {x: right, y: height - 4, 'text-anchor': 'end'}, time(end));
  if (points.length > 1) {
    const line = points.map(([seconds, speed]) => `${x(seconds).toFixed(1)} ${y(speed).toFixed(1)}`).join('L');
    add('path', {class: 'area', d: `M${left} ${bottom}L${line}L${x(points[points.length - 1][0])} ${bottom}Z`});
    add('path', {class: 'curve', d: `M${line}`});
  }
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.replaceChildren(...list);
  const mean = points.length ? latest.history.events[latest.history.events.length - 1] / end : 0;
  svg.setAttribute('aria-label', `Events per second over ${time(end)}: ${number(mean)} on average, at most ${number(Math.max(...points.map(([, speed]) => speed), 0))}`);
  byId('chart-key').hidden = !away.length;
}

/* The file that is being read, and its number among several. */
function file(status) {
  const source = status.source;
  if (!source || status.finished || source.count < 2) return '';
  return `file ${number(source.number)} of ${number(source.count)}${source.name ? `: ${source.name}` : ''} · `;
}

/* What the load waits for, if it waits. */
function waits(status, outage) {
  const stall = status.database && status.database.stall;
  if (outage) {
    return `For ${time(outage.seconds)}, attempt ${number(Math.max(1, outage.attempts))}. The load ends with code 4 in ${
      time(outage.gives_up_seconds)} unless the database ${outage.ends_when}. No event is lost.`;
  }
  if (status.state === 'stalled' && stall) {
    return `For ${time(stall.seconds)}. Possible causes: a lock of another session, or a stalled or overloaded server. The load cancels a statement without progress after ${
      time(stall.cancel_seconds)}, and retries. No event is lost.`;
  }
  if (status.state !== 'waiting') return '';
  return `${counted(status.segments_awaited, 'segment')} left. This load takes over unfinished segments.`;
}

function render(status) {
  latest = status;
  byId('main').hidden = false;
  document.body.classList.toggle('alert', ALERTS.includes(status.state));
  document.body.classList.toggle('warning', isWarning(status));
  write(byId('state'), STATES[status.state] || status.state);
  write(byId('title'), status.title);
  const percent = status.bytes_total ? `${Math.min(100, Math.floor(100 * status.bytes_read / status.bytes_total))} % · ` : '';
  document.title = `${status.finished ? '' : percent}${STATES[status.state] || status.state} – aegis-kills`;
  const about = status.database;
  const postgres = about && about.server_version ? ` · PostgreSQL ${about.server_version}` : '';
  const outage = about && !status.finished ? about.outage : null;
  write(byId('detail'), file(status) + (waits(status, outage) || `${status.server} · layout ${status.layout}${postgres}`));
  const trouble = outage ? outage.cause : about && !about.healthy ? about.error : '';
  show('error', status.error || trouble);
  progress(status);
  counts(status);
  writers(status);
  database(status);
  rejects(status);
  chart();
  write(byId('about'), `aegis-kills ${status.version} · run ${status.run} · started at ${moment(status.started)}`);
  write(byId('seen'), `as of ${moment(status.now)}`);
  const ended = status.state === 'complete' ? 'This page shows its final status.' : 'Its terminal or log has the summary and the next step.';
  show('gone', status.finished ? `The load has ended. ${ended}` : '');
}

function gone(seen) {
  const last = seen
    ? `Last answer: ${seen.toLocaleTimeString('en-GB')}. This page shows the last values received.`
    : 'No answer since this page was opened.';
  byId('main').hidden = false;
  document.body.classList.add('alert');
  write(byId('state'), 'No connection');
  document.title = 'No connection – aegis-kills';
  show('gone', `The program does not answer: it has ended or is unreachable. ${last} The terminal or log of the load has its summary.`);
}

let seen = null;

async function poll() {
  try {
    const answer = await fetch('/status.json', {cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS)});
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const status = await answer.json();
    seen = new Date();
    render(status);
    if (status.finished) return;
  } catch (error) {
    console.warn(error);
    gone(seen);
  }
  setTimeout(poll, POLL_MS);
}

window.addEventListener('resize', chart);
poll();
