import Basis
import Glibc
import Wire

/// A thread of its own for everything that may wait for the kernel's RTNL lock: it puts VIPs on interfaces, renews their
/// leases, takes them away, announces them, guards them against other programs, and watches interfaces.
///
/// The loop calls it without ever waiting; what became of it comes back through `report`, called on the address thread.
/// `take`, `renew`, `release` and `announce` are for one thread, the loop's.
public final class AddressThread: Sendable {
  /// A VIP as the address thread needs to know it.
  public struct VIP: Sendable, Hashable {
    /// Its number in the `OwnershipRecord`; reports name it by this.
    public var id: Int
    public var interface: String
    public var addresses: [IPAddress]

    public init(id: Int, interface: String, addresses: [IPAddress]) {
      self.id = id
      self.interface = interface
      self.addresses = addresses
    }
  }

  /// What happened. The first value is a VIP's number, the second the generation that it is about.
  public enum Report: Sendable, Hashable {
    /// All addresses are on the interface and announced; the kernel takes them away at `until` unless they are renewed.
    case added(Int, UInt64, until: Instant?)
    case renewed(Int, UInt64, until: Instant?)
    case removed(Int, UInt64)
    /// The kernel refused, and no address was left behind; after a failed renewal they stay until the lease ends.
    case failed(Int, UInt64, SystemError)
    /// The VIP is lost, and nothing is left of it.
    case vanished(Int, UInt64, Cause)
    /// Another program removed this address; it is there again.
    case putBack(Int, UInt64, IPAddress)
    /// An address that nobody here owns turned up on its interface, and was removed.
    case strayRemoved(Int, IPAddress)
    /// An earlier life's address was found at the start on that interface, and was removed.
    case swept(Int, IPAddress, String)
    /// The neighbours could not be told.
    case announcementFailed(Int, SystemError)
    /// What is known of an interface now; at the start, and after each change.
    case interface(InterfaceState)
    /// The kernel's state can't be read at present.
    case blind(SystemError)
    /// The thread ended; with an error, it died of that.
    case ended(SystemError?)

    public enum Cause: String, Sendable, Hashable {
      /// The lease ran out.
      case expired
      /// Another program removed it again and again.
      case givenUp = "given up"
      /// The interface is gone, or was set down.
      case interfaceLost = "interface lost"
      /// Somebody else who has the record revoked the ownership in it.
      case revoked
    }
  }

  enum Command: Sendable {
    case take(Int, UInt64, Duration?)
    case renew(Int, UInt64, Duration?)
    case release(Int, UInt64)
    case announce(Int, UInt64)
    case stop
  }

  public let record: OwnershipRecord
  private let commands: Mailbox<Command>
  private let thread: Thread

  /// Starts the thread in the calling thread's network namespace. It first removes the VIPs' addresses that an earlier life
  /// left behind, then reports the interfaces.
  /// - Parameters:
  ///   - watching: interfaces by name; empty for all.
  ///   - record: where ownership is written; its capacity is above every VIP's number.
  public init(
    _ vips: [VIP], watching: [String], record: OwnershipRecord,
    report: @escaping @Sendable (Report) -> Void
  ) throws(SystemError) {
    self.record = record
    let commands = try Mailbox<Command>()
    self.commands = commands
    // Made here, so that what is missing is known at once; used by the new thread alone.
    nonisolated(unsafe) let keeper = try AddressKeeper(vips, watching: watching, record, report: report)
    nonisolated(unsafe) let reactor = try Reactor()
    thread = try Thread.start(named: "roost-addresses") {
      do throws(SystemError) {
        try Self.run(keeper, reactor, commands)
        report(.ended(nil))
      } catch {
        report(.ended(error))
      }
    }
  }

  deinit { commands.send(.stop) }

  private static func run(_ keeper: AddressKeeper, _ reactor: Reactor, _ commands: Mailbox<Command>) throws(SystemError)
  {
    try keeper.start()
    try reactor.register(keeper.monitorDescriptor, .readable) { _ in keeper.readChanges() }
    try reactor.register(commands.waker.descriptor, .readable) { _ in
      commands.waker.acknowledge()
      commands.drain { command in
        keeper.handle(command)
        if case .stop = command { reactor.stop() }
      }
      keeper.flush()
    }
    try reactor.run(deadline: { keeper.deadline }) { keeper.actOnDeadline($0) }
  }

  /// Puts the VIP's addresses on its interface and announces each. Answered by `.added` or `.failed`.
  /// - Parameter lease: how long the kernel keeps them unless they are renewed, in whole seconds; nil for ever.
  public func take(_ vip: Int, generation: UInt64, lease: Duration?) {
    record.grant(vip, generation: generation)
    commands.send(.take(vip, generation, lease))
  }

  /// Extends the lease, unless it ran out or the generation is over by then. Answered by `.renewed`, `.failed` or `.vanished`;
  /// not at all where the generation is over.
  public func renew(_ vip: Int, generation: UInt64, lease: Duration?) {
    commands.send(.renew(vip, generation, lease))
  }

  /// Removes the addresses. From this call on the generation is over, whatever is still queued. Answered by `.removed` or `.failed`.
  public func release(_ vip: Int, generation: UInt64) {
    record.revoke(vip, generation: generation)
    commands.send(.release(vip, generation))
  }

  /// Tells the neighbours again, while the generation owns the VIP.
  public func announce(_ vip: Int, generation: UInt64) {
    commands.send(.announce(vip, generation))
  }

  /// Ends the thread after what is queued, and waits for it. Addresses stay as they are.
  public func stop() {
    commands.send(.stop)
    thread.join()
  }
}
