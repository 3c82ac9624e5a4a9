import Basis
import Control
import Glibc
import Guardian
import Linux
import Notify
import Proxy
import Synchronization
import Telemetry

/// The control socket, which is there from the start or comes when the process before this one has let it go.
final class ControlPost: Sendable {
  private let path: String
  private let server = Mutex<ControlServer?>(nil)

  init(path: String) { self.path = path }

  var listening: Int32? { server.withLock { $0?.listening } }

  func open(_ routes: ControlRoutes) throws(ControlError) {
    let made = try ControlServer(path: path) { routes.handle($0, $1) }
    server.withLock { $0 = made }
  }

  func open(_ routes: ControlRoutes, adopting socket: consuming Descriptor) throws(ControlError) {
    let made = try ControlServer(path: path, adopting: socket) { routes.handle($0, $1) }
    server.withLock { $0 = made }
  }

  func cede() { server.withLock { $0 }?.cede() }
  func stop() { server.withLock { $0 }?.stop() }
}

extension Daemon {
  /// How long connections of before an upgrade may go on. A daemon that is there twice holds twice the memory, and a client that comes back
  /// once in ten minutes is no storm.
  static let longestFarewell = Duration.seconds(600)

  /// The process before this one has let go: now comes what only one can have.
  static func complete(
    _ plan: DaemonPlan, _ equipment: Equipment, _ mailbox: Mailbox<Loop.Message>, _ control: ControlPost,
    _ routes: ControlRoutes, _ socket: consuming Descriptor?, _ log: Log
  ) {
    do {
      if let socket { try control.open(routes, adopting: socket) } else { try control.open(routes) }
    } catch {
      log.write(.error, "no command can be given to this daemon: \(error)")
    }
    do {
      let (parts, change) = try equipment.prepare(plan)
      // Nobody waits for it, so nobody withdraws it.
      mailbox.send(.install(.init(plan: plan, parts: parts, change: change, proposal: try Proposal())))
    } catch {
      log.write(.error, "\(error)")
    }
  }

  /// Another process is the daemon. This one lets go of what only one can have, finishes its connections, and ends; it touches nothing on the
  /// network any more, so none of the parts that would is ended in order.
  func end(
    _ loop: Loop, guardian: GuardianKeeper, _ equipment: Equipment, _ control: ControlPost,
    _ coordinator: ReloadCoordinator, _ upgrader: Upgrader, _ recorder: Recorder?, _ notifier: Notifier, _ log: Log
  ) -> Never {
    // It has nothing left to guard; the next one waits for its place.
    guardian.goodbye()
    equipment.cede()
    control.cede()
    let successor = upgrader.release()
    coordinator.stop()
    notifier.stop(within: .seconds(2))
    recorder?.close()
    let end = Clock.now() + Self.longestFarewell
    let proxy = equipment.current.proxy
    if let open = proxy?.openConnections, open > 0 {
      log.write(.notice, "\(open) connections are finished by this process; it ends with the last")
    }
    // The answer to who asked for the upgrade is still to be read.
    usleep(200_000)
    var said = (connections: -1, at: Clock.now())
    farewell: while let proxy, proxy.openConnections > 0, Clock.now() < end {
      let (open, now) = (proxy.openConnections, Clock.now())
      // Again and again: after the next upgrade it is another process that hears it.
      if said.connections < 0 || now - said.at > .milliseconds(500) {
        said = (open, now)
        successor?.send(.remaining(connections: open, milliseconds: max(0, (end - now).nanoseconds / 1_000_000)))
      }
      if loop.isAskedToStop() {
        finish(proxy, loop)
        break
      }
      do throws(UpgradeChannel.Failure) {
        guard let successor else { throw .closed }
        switch try successor.receive(until: now + .milliseconds(50)) {
        case .close(let number, let vip, let limit):
          let places = loop.plan.vipPlace(vip).map { loop.plan.proxyIndices(ofVIP: $0) } ?? []
          proxy.closeConnections(places, within: .milliseconds(limit)) { successor.send(.closed(number)) }
        case .leave:
          log.write(.notice, "another upgrade wants this process to end, and its \(open) connections with it")
          finish(proxy, loop, within: .seconds(5))
          break farewell
        default: break
        }
      } catch {
        // Nobody is there any more who could say that a VIP leaves.
        if error == .closed { usleep(50_000) }
      }
    }
    log.close()
    exit(0)
  }

  /// A polite stop, of both processes or of this one alone.
  private func finish(_ proxy: ProxyEngine, _ loop: Loop, within longest: Duration = longestFarewell) {
    guard let done = try? Semaphore() else { return }
    let limit = min(loop.settings.vips.map(\.drain).max() ?? .zero, longest)
    proxy.closeConnections(Array(loop.plan.proxied.indices), within: limit) { done.signal() }
    _ = done.wait(for: limit + .seconds(1))
  }
}
