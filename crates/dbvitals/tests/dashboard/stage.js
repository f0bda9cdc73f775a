// A quarter to three in the morning that never passes: a clock that stands still and an agent's
// answers that are always the same, so that a picture of the page differs only if the page does.
// Runs in the page before anything of it.

{
  const NOW = Date.parse("2026-07-03T02:45:00Z");
  const RealDate = Date;
  window.Date = class extends RealDate {
    constructor(...given) {
      super(...(given.length === 0 ? [NOW] : given));
    }
    static now() {
      return NOW;
    }
  };

  // The one font that is installed for this; every machine has others.
  document.addEventListener("DOMContentLoaded", () => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(":root { font-family: 'DejaVu Sans' } kbd { font-family: 'DejaVu Sans' }");
    document.adoptedStyleSheets = [sheet];
  });

  const ago = (seconds) => new RealDate(NOW - seconds * 1000).toISOString();
  const seen = (took, more = {}) => ({
    outcome: "pass", cause: null, class: null, depth_reached: "role", ended: ago(0.4), took_ms: took,
    phases: [{ phase: "ping", ms: took * 0.4 }, { phase: "role", ms: took * 0.6 }], server: null, detail: null, ...more,
  });
  const login = (took, server) => seen(took, {
    ended: ago(12), server,
    phases: [{ phase: "connect", ms: took * 0.2 }, { phase: "greeting", ms: took * 0.15 }, { phase: "login", ms: took * 0.4 }, { phase: "role", ms: took * 0.25 }],
  });
  const failed = (cause, took, phase, detail) => ({
    outcome: "fail", cause, class: "dead", depth_reached: "connect", ended: ago(0.8), took_ms: took,
    phases: [{ phase: "connect", ms: 0.1 }, { phase, ms: took - 0.1, failed: true }], server: null, detail,
  });
  const mariadb = { product: "mariadb", version: "10.11.19", role: "primary", read_only: false, connections: { used: 83, max: 151 } };
  const postgres = { product: "postgresql", version: "15.14", role: "replica", read_only: true, connections: { used: 41, max: 100 } };
  const backend = (name, address, more = {}) => ({
    name, address, verdict: "up", class: null, cause: null, since: ago(12 * 86400 + 3 * 3600), evidence_age_ms: 400, role: "replica",
    admin: "ready", detail: null, warning: null, remedy: null, sessions_lost: 0,
    held: seen(0.08), fresh: login(0.52, { ...mariadb, role: "replica", read_only: true }), ...more,
  });

  const hung = "The deadline ended while waiting for the server's answer.";
  const remedy = "The kernel accepts for a server that does not: look whether the process at 10.0.0.12:3306 is stopped, swapping, or out of threads. In `ps -C mysqld,mariadbd -o pid,stat,wchan:20,args`, T is stopped (kill -CONT PID) and D waits for its disk.";
  const backends = [
    backend("orders-1", "10.0.0.11:3306", { role: "primary", fresh: login(0.49, mariadb) }),
    backend("orders-2", "10.0.0.12:3306", {
      verdict: "down", cause: "unresponsive", class: "dead", since: ago(194), detail: hung, remedy,
      held: failed("unresponsive", 1000.2, "ping", hung), fresh: failed("unresponsive", 1000.3, "greeting", hung),
    }),
    backend("orders-3", "10.0.0.13:3306", { admin: "drain", order: { reason: "kernel update", until: ago(-2700) } }),
    backend("ledger-1", "10.0.1.11:5432", { role: "primary", held: seen(0.11), fresh: login(2.9, { ...postgres, role: "primary", read_only: false }) }),
    backend("ledger-2", "10.0.1.12:5432", {
      verdict: "degraded", cause: "too_many_connections", class: "full", since: ago(860), detail: "FATAL: sorry, too many clients already (53300)",
      remedy: "All 100 connections are in use. See who holds them: SELECT usename, state, count(*) FROM pg_stat_activity GROUP BY 1, 2. Idle ones of a pool come first; raise max_connections last.",
      held: seen(0.14), fresh: { ...failed("too_many_connections", 1.4, "login", "FATAL: sorry, too many clients already"), class: "full" },
    }),
    backend("ledger-3", "10.0.1.13:5432", { fresh: login(3.1, postgres) }),
    backend("sessions-1", "10.0.2.11:3306", { role: "primary", since: ago(5 * 3600 + 180), fresh: login(0.61, mariadb) }),
    backend("sessions-2", "10.0.2.12:3306", {
      since: ago(5 * 3600), warning: "the check itself fails (access_denied), which takes no server out of rotation: The server refused the check's login.",
    }),
    backend("archive", "10.0.3.5:5432", { verdict: "unknown", cause: "dns_failed", class: "ours", since: ago(41), evidence_age_ms: 71000, role: null, detail: "The name could not be resolved.", held: null, fresh: null }),
    ...Array.from({ length: 9 }, (_, place) => backend(`shop-${place + 1}`, `10.0.4.${place + 11}:3306`, { role: place === 0 ? "primary" : "replica", held: seen(0.05 + place * 0.01) })),
  ];
  const member = (name) => {
    const { verdict, role, admin } = backends.find((it) => it.name === name);
    return { name, verdict, role, admin, fit: verdict !== "down" && admin === "ready" };
  };
  const service = (name, members, more = {}) => ({
    name, verdict: "up", class: null, cause: null, since: ago(86400), evidence_age_ms: 400, role: null, admin: "ready", detail: null, warning: null,
    want: "any", enough: 1, fit: members.length, primaries: [members[0]], alarm: null, backends: members.map(member), ...more,
  });
  const services = [
    service("orders", ["orders-1", "orders-2", "orders-3"], { verdict: "degraded", fit: 1, detail: "orders-2 is down, orders-3 is drained" }),
    service("ledger", ["ledger-1", "ledger-2", "ledger-3"], { verdict: "degraded", detail: "ledger-2 is full" }),
    service("sessions", ["sessions-1", "sessions-2"]),
  ];
  const change = (seconds, name, from, to, more = {}) => ({
    schema: "dbvitals.transition.v1", at: ago(seconds), backend: name, change: "verdict", from, to,
    cause: null, class: null, held: "pass", fresh: "pass", detail: null, ...more,
  });
  const transitions = [
    change(5 * 3600 + 300, "sessions-1", "up", "down", { cause: "refused", class: "dead", held: "closed", fresh: "refused", detail: "Connection refused" }),
    change(5 * 3600 + 180, "sessions-1", "down", "up"),
    change(3000, "orders-2", "up", "degraded", { cause: "over_budget", class: "slow", detail: "84 ms, over the budget of 50 ms" }),
    change(2700, "orders-2", "degraded", "up"),
    change(1500, "ledger-2", "up", "down", { cause: "starting_up", class: "unfit", held: "closed", fresh: "starting_up", detail: "FATAL: the database system is starting up" }),
    change(1320, "ledger-2", "down", "up"),
    { ...change(900, "orders-3", "ready", "drain"), change: "admin" },
    change(860, "ledger-2", "up", "degraded", { cause: "too_many_connections", class: "full", fresh: "too_many_connections", detail: "FATAL: sorry, too many clients already" }),
    change(194, "orders-2", "up", "down", { cause: "unresponsive", class: "dead", held: "unresponsive", fresh: "unresponsive", detail: hung, remedy }),
    change(41, "archive", "up", "unknown", { cause: "dns_failed", class: "ours", held: null, fresh: null, detail: "The name could not be resolved." }),
  ];
  const digest = (minute, path, depth, phase, base) => {
    // Much the same from minute to minute, and the same in every picture.
    const wave = 1 + 0.25 * Math.sin(minute * 1.7 + base * 9) + (minute > 50 ? 0.6 : 0);
    return { at: ago((60 - minute) * 60), path, depth, phase, count: 58, p50_ms: base * wave, p95_ms: base * wave * 1.7, p99_ms: base * wave * (minute % 13 === 0 ? 5 : 2.4), max_ms: base * wave * 6 };
  };
  const points = Array.from({ length: 60 }, (_, minute) => [
    digest(minute, "held", "role", "total", 0.08), digest(minute, "held", "role", "ping", 0.03), digest(minute, "held", "role", "role", 0.05),
    digest(minute, "fresh", "role", "total", 0.52), digest(minute, "fresh", "role", "connect", 0.1), digest(minute, "fresh", "role", "login", 0.2),
  ]).flat();

  const answers = {
    "/api/v1/agent": {
      schema: "dbvitals.agent.v1", name: "db-a", version: "0.1.0", pid: 4242, config: "/etc/dbvitals/dbvitals.toml", at: ago(0), started: ago(5 * 3600 + 1500),
      vitals: { probes: 356000, loop_lag_ms: 0.06, descriptors: 74, descriptors_max: 1024 },
    },
    "/api/v1/backends": { backends },
    "/api/v1/services": { services },
    "/api/v1/transitions": { transitions },
    "/api/v1/history/transitions": {
      kept_since: ago(20 * 86400), complete: true, transitions,
      // It was away for five minutes.
      runs: [{ began: ago(20 * 86400), seen: ago(5 * 3600 + 1800) }, { began: ago(5 * 3600 + 1500), seen: ago(30) }],
    },
    "/api/v1/history/latency": { points },
  };
  window.fetch = async (url) => {
    const { pathname } = new URL(url, location.href);
    if (pathname === "/api/v1/events") {
      const samples = backends.filter((it) => it.held?.outcome === "pass").flatMap((it) => Array.from({ length: 40 }, (_, place) => {
        const took = it.held.took_ms * (1 + 0.3 * Math.sin(place * 1.3 + it.name.length));
        return `event: observation\ndata: ${JSON.stringify({ ...it.held, backend: it.name, path: "held", verdict: it.verdict, took_ms: place === 39 ? it.held.took_ms : took })}\n\n`;
      }));
      return new Response(new ReadableStream({ start: (stream) => stream.enqueue(new TextEncoder().encode(samples.join(""))) }));
    }
    return answers[pathname] ? Response.json(answers[pathname]) : Response.json({ detail: "not on this stage" }, { status: 404 });
  };
}
