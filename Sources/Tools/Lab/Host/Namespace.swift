import CLinux
import Glibc
import Synchronization

/// A network namespace by its name in /run/netns, as `ip netns` keeps them.
public struct Namespace: Sendable, Hashable, Codable {
  public let name: String

  public init(name: String) { self.name = name }

  static let folder = "/run/netns"
  var path: String { "\(Namespace.folder)/\(name)" }
  var exists: Bool { inode != nil }

  /// What `readlink /proc/PID/ns/net` shows in brackets for the processes inside; nil where there is no such namespace.
  var inode: UInt64? {
    var status = stat()
    return stat(path, &status) == 0 ? UInt64(status.st_ino) : nil
  }

  /// Runs the body on a thread of its own inside the namespace and waits for it: sockets that it opens and processes that it
  /// starts belong to the namespace, the caller stays where it is.
  func run<Result: Sendable>(_ body: @escaping @Sendable () -> Result) throws(LabError) -> Result {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("namespace \(name)", errno) }
    defer { close(descriptor) }
    let outcome = onThread { () -> Swift.Result<Result, LabError> in
      let entered = clinux_lab_enter(descriptor)
      guard entered == 0 else { return .failure(.system("entering namespace \(self.name)", entered)) }
      return .success(body())
    }
    return try outcome.get()
  }

  /// The same for a body that can fail.
  func attempt<Result: Sendable>(
    _ body: @escaping @Sendable () throws(LabError) -> Result
  ) throws(LabError) -> Result {
    try run { () -> Swift.Result<Result, LabError> in
      do throws(LabError) { return .success(try body()) } catch { return .failure(error) }
    }.get()
  }
}

/// Runs the body on a new thread and waits for its end.
func onThread<Result: Sendable>(_ body: @escaping @Sendable () -> Result) -> Result {
  let box = ThreadBox<Result>(body)
  let thread = startThread { box.run() }
  if let thread { pthread_join(thread, nil) } else { box.run() }
  return box.result()
}

private final class ThreadBox<Result: Sendable>: Sendable {
  private let body: @Sendable () -> Result
  private let outcome = Mutex<Result?>(nil)

  init(_ body: @escaping @Sendable () -> Result) { self.body = body }
  func run() {
    let value = body()
    outcome.withLock { $0 = value }
  }
  func result() -> Result {
    outcome.withLock { value in
      guard let value else { preconditionFailure("the thread ended without its result") }
      return value
    }
  }
}

private final class ThreadBody: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Starts a joinable thread; nil where the system refuses one.
func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t? {
  var thread = pthread_t()
  let held = Unmanaged.passRetained(ThreadBody(body))
  let failure = pthread_create(
    &thread, nil,
    { argument in
      guard let argument else { return nil }
      Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().body()
      return nil
    }, held.toOpaque())
  if failure != 0 {
    held.release()
    return nil
  }
  return thread
}
