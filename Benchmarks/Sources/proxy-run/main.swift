// Runs the proxy engine alone: proxy-run ADDRESS:PORT BACKEND:PORT,… [NAME=VALUE …]
//
//   workers=1 policy=least-connections limit=50000 connect=2000 idle=600000 half-closed=30000 retries=2
//   congestion=bbr   drain=MILLISECONDS (on SIGTERM; 0: reset at once)   Times are in milliseconds.
//
// It prints one line when it listens, a line for each backend on SIGUSR1, and stops on SIGTERM.
import Balancing
import Basis
import Glibc
import Proxy

let options = Options(CommandLine.arguments.dropFirst())

// Signals go to sigwait below; threads inherit the mask.
var signals = sigset_t()
sigemptyset(&signals)
for signal in [SIGTERM, SIGINT, SIGUSR1] { sigaddset(&signals, signal) }
pthread_sigmask(SIG_BLOCK, &signals, nil)

let service = ProxyService(
  name: "run",
  listen: options.listen.map { .init($0.0, port: $0.1) },
  backends: options.backends.enumerated().map { .init(name: "b\($0)", address: $1.0, port: $1.1) },
  policy: options.text("policy").map { name in
    guard let policy = Balancer.Policy(rawValue: name) else { fail("no policy \(name)") }
    return policy
  } ?? .standard,
  maximumConnections: options.number("limit", 50_000),
  timeouts: .init(
    connect: options.milliseconds("connect", 2000), idle: options.milliseconds("idle", 600_000),
    halfClosed: options.milliseconds("half-closed", 30_000)),
  retries: options.number("retries", 2), congestionControl: options.text("congestion"))

/// A line at once, whoever reads it.
func say(_ parts: String...) {
  let line = parts.joined(separator: " ") + "\n"
  write(1, line, line.utf8.count)
}

let engine: ProxyEngine
do {
  engine = try ProxyEngine(services: [service], options: ProxyOptions(workers: options.number("workers", 1)))
  try engine.start()
} catch {
  fail("\(error)")
}
say("listening: up to \(engine.maximumConnections) connections, \(engine.workers) workers")

while true {
  var signal: Int32 = 0
  sigwait(&signals, &signal)
  for sum in engine.snapshot() {
    say(
      "open=\(sum.connections) accepted=\(sum.accepted) refused=\(sum.refusedAtLimit) no-backend=\(sum.noBackend)",
      "unreachable=\(sum.unreachable) client-resets=\(sum.clientResets) timed-out=\(sum.timedOut)",
      "drained=\(sum.drained) cut=\(sum.cut)")
    for backend in sum.backends {
      say(
        "  \(backend.name) open=\(backend.connections) total=\(backend.total) failed=\(backend.failedConnects)",
        "retries=\(backend.retries) resets=\(backend.resets)",
        "to-backend=\(backend.bytesToBackend) to-client=\(backend.bytesToClient)")
    }
  }
  if signal != SIGUSR1 { break }
}
let drain = options.number("drain", 0)
if drain > 0 {
  let done = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
  sem_init(done, 0, 0)
  nonisolated(unsafe) let signal = done
  engine.closeConnections([0], within: .milliseconds(drain)) { sem_post(signal) }
  sem_wait(done)
  say("drained")
}
engine.stop()
