import CLinux
import Glibc
import Linux
import Synchronization
import Wire

/// A worker and its thread, as other threads know them.
final class Member: Sendable {
  let mail: Mail
  let pulse = Pulse()
  private let desk: Desk
  private let thread = Mutex<Linux.Thread?>(nil)

  init(plan: WorkerPlan, occupancy: Occupancy) throws(ProxyError) {
    do { mail = try Mail() } catch { throw .outOf("eventfd", code: error.code) }
    let io = try KernelIO(bell: mail.descriptor)
    desk = Desk(try Worker(io: io, plan: plan, pulse: pulse, occupancy: occupancy, mail: mail))
    try desk.worker.listen()
  }

  func start(named name: String) throws(SystemError) {
    let started = try Linux.Thread.start(named: name) { [desk] in desk.worker.run() }
    thread.withLock { $0 = started }
  }

  /// Has the worker end, and waits for it. One that never started is ended here.
  func dismiss() {
    mail.send(.stop)
    if let thread = thread.withLock({ $0 }) { thread.join() } else { desk.worker.run() }
    desk.worker.io.shutDown()
  }

  /// Where the worker lives. One exclusivity check for the whole of its run.
  private final class Desk: @unchecked Sendable {  // touched by one thread at a time: the worker's, then who joined it
    var worker: Worker<KernelIO>

    init(_ worker: consuming Worker<KernelIO>) { self.worker = worker }
  }
}

/// All listening sockets: one for each worker at each address, sharing it by SO_REUSEPORT.
struct ListenerSet {
  private var shares: [[Listener]]

  /// - Parameters:
  ///   - wanted: for each service its slot, and where it shall listen.
  ///   - ours: where another service of this engine listens, which may be leaving: both listen until it is gone.
  init(
    _ wanted: [(slot: Int, service: ProxyService, places: [ProxyService.Listen])], workers: Int, backlog: Int,
    inheriting inheritance: ProxyEngine.Inheritance? = nil, sharing ours: Set<ProxyService.Listen> = []
  ) throws(ProxyError) {
    shares = Array(repeating: [], count: workers)
    do {
      for (slot, service, places) in wanted {
        for place in places {
          // All of another process's are listened on, be they more than there are workers: the kernel gives connections to each.
          let inherited = inheritance?.take(place) ?? []
          for (index, descriptor) in inherited.enumerated() {
            shares[index % workers].append(Listener(descriptor: descriptor, service: slot, place: place))
          }
          if inherited.count >= workers { continue }
          if !inherited.isEmpty {
            for worker in inherited.count..<workers {
              let descriptor = try ListenerSet.open(place, of: service, backlog: backlog, share: true)
              shares[worker].append(Listener(descriptor: descriptor, service: slot, place: place))
            }
            continue
          }
          // Sharing would let two programs of one user split the connections. Alone, the kernel tells.
          if !ours.contains(place) {
            clinux_proxy_close(try ListenerSet.open(place, of: service, backlog: 1, share: false))
          }
          for worker in 0..<workers {
            let descriptor = try ListenerSet.open(place, of: service, backlog: backlog, share: true)
            shares[worker].append(Listener(descriptor: descriptor, service: slot, place: place))
          }
        }
      }
    } catch {
      closeAll()
      throw error
    }
  }

  /// The sockets of one worker, which closes them from now on.
  mutating func take(_ worker: Int) -> [Listener] {
    defer { shares[worker] = [] }
    return shares[worker]
  }

  /// All of them, a list for each worker; they are the receiver's from now on.
  mutating func takeAll() -> [[Listener]] {
    defer { shares = [] }
    return shares
  }

  mutating func closeAll() {
    for worker in shares.indices { ListenerSet.close(take(worker)) }
  }

  static func close(_ listeners: [Listener]) {
    for listener in listeners { clinux_proxy_close(listener.descriptor) }
  }

  private static func open(
    _ place: ProxyService.Listen, of service: ProxyService, backlog: Int, share: Bool
  ) throws(ProxyError) -> Int32 {
    var endpoint = clinux_endpoint(place.address, port: place.port)
    var step: Int32 = 0
    let result = clinux_proxy_listen(
      &endpoint, Int32(clamping: backlog), share ? 1 : 0, service.congestionControl, &step)
    if result >= 0 { return result }
    switch -result {
    case EADDRINUSE: throw .portInUse(service: service.name, address: place.address, port: place.port)
    case EACCES, EPERM: throw .notPermitted(service: service.name, address: place.address, port: place.port)
    default:
      let steps = ["socket", "setsockopt", "bind", "listen"]
      throw .cannotListen(
        service: service.name, address: place.address, port: place.port, step: steps[Int(step)], code: -result)
    }
  }
}

/// Processors that the calling thread may run on: fewer than the machine has under taskset, cpuset or CPUAffinity=.
func processorCount() -> Int {
  let allowed = clinux_proxy_processors()
  return allowed > 0 ? Int(allowed) : max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
}
