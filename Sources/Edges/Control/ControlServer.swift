import Basis
import Linux

/// How much of the daemon one client, and all of them, may have.
public struct ControlLimits: Sendable, Hashable {
  public var clients = 64
  /// The head of a request in bytes.
  public var head = 16 * 1024
  /// The body of a request in bytes.
  public var body = 1024 * 1024
  /// From the first byte of a request to its last.
  public var request: Duration = .seconds(10)
  /// How long the handler may take. Generous: a hand-over is waited for.
  public var handling: Duration = .seconds(300)
  /// How long a client may take to read an answer.
  public var answer: Duration = .seconds(30)
  /// How long a connection may do nothing.
  public var idle: Duration = .seconds(60)

  public init() {}
}

/// The daemon's control socket: HTTP/1.1 and JSON over a unix socket, on a thread of its own.
///
/// A client costs nothing but its own connection, whatever it sends and however slowly it reads. Where there are too many, the one
/// that has been idle for longest makes room; connections whose request is being handled never do.
public final class ControlServer: Sendable {
  /// Call it once, from any thread. A request whose `Answer` is dropped without a call is answered with 500.
  public typealias Answer = @Sendable (ControlResponse) -> Void
  /// Is called on the server's thread, so it must not wait: it hands the request on, and answers later.
  public typealias Handler = @Sendable (ControlRequest, @escaping Answer) -> Void

  public let path: String
  /// The listening socket. It stays the server's; another process may be given a copy.
  public let listening: Int32
  private let mailbox: Mailbox<ControlLoop.Message>
  private let thread: Thread

  /// Opens the socket, with mode 0600. The folder is made, with mode 0755, if only it is missing.
  ///
  /// The name that a dead daemon left is replaced; where a live one answers, this fails with `ControlError.anotherRuns`.
  public convenience init(
    path: String, limits: ControlLimits = ControlLimits(), handler: @escaping Handler
  ) throws(ControlError) {
    try self.init(ControlSocket(path: path), limits, handler)
  }

  /// Goes on with the socket of a process before this one: clients that wait in its queue are served.
  public convenience init(
    path: String, adopting socket: consuming Descriptor, limits: ControlLimits = ControlLimits(),
    handler: @escaping Handler
  ) throws(ControlError) {
    try self.init(ControlSocket(path: path, adopting: socket), limits, handler)
  }

  private init(
    _ socket: consuming ControlSocket, _ limits: ControlLimits, _ handler: @escaping Handler
  ) throws(ControlError) {
    path = socket.path
    listening = socket.descriptor.rawValue
    do throws(SystemError) {
      let mailbox = try Mailbox<ControlLoop.Message>()
      let start = Handover(try ControlLoop(socket, mailbox, limits, handler))
      self.mailbox = mailbox
      thread = try Thread.start(named: "roost-control", stackSize: 512 * 1024) { start.loop.run() }
    } catch {
      throw .system(error)
    }
  }

  /// Accepts no more: another process has the listening socket, and its name. Requests that are under way are still answered, by
  /// whoever goes on running until then.
  public func cede() { mailbox.send(.cede) }

  /// Ends all connections, removes the socket and waits for the thread. A second call does nothing.
  public func stop() {
    mailbox.send(.stop)
    thread.join()
  }

  deinit { mailbox.send(.stop) }

  /// Carries the loop to its thread. The thread that made it does not touch it again.
  private struct Handover: @unchecked Sendable {
    let loop: ControlLoop
    init(_ loop: ControlLoop) { self.loop = loop }
  }
}
