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
    /// The addresses go on a device of their own that has the virtual router's MAC. Nil: on the interface itself, with its MAC.
    public var virtualMAC: VirtualMAC?
    /// False: packets to the VIP itself are dropped, neighbour discovery aside (Accept_Mode, RFC 9568 §6.1). What is forwarded is
    /// not concerned.
    public var accepts: Bool

    public init(
      id: Int, interface: String, addresses: [IPAddress], virtualMAC: VirtualMAC? = nil, accepts: Bool = true
    ) {
      self.id = id
      self.interface = interface
      self.addresses = addresses
      self.virtualMAC = virtualMAC
      self.accepts = accepts
    }

    /// The device that an address of that family is put on.
    public func device(_ family: AddressFamily) -> String { virtualMAC?.deviceName(family) ?? interface }
  }

  /// What happened. The first value is a VIP's number, the second the generation that it is about.
  public enum Report: Sendable, Hashable {
    /// All addresses are on the interface, and announced or about to be, as fast as neighbours can take it; the kernel takes them away
    /// at `until` unless they are renewed.
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
    /// Something that an earlier life left behind was found at the start, and was removed.
    case swept(Removal)
    /// The address is on that interface with another prefix length: another program's doing, which this one leaves alone.
    case foreign(Int, IPAddress, prefixLength: Int, interface: String)
    /// It is there no longer.
    case foreignGone(Int, IPAddress, prefixLength: Int, interface: String)
    /// The kernel found that another machine has this IPv6 address (`dadfailed`).
    case duplicate(Int, IPAddress)
    /// Another machine says of an address that is held here that it is at that MAC. So often only as a bucket lets through.
    case claimed(Int, IPAddress, by: MACAddress)
    /// The neighbours could not be told.
    case announcementFailed(Int, SystemError)
    /// The journal can't be read or written, in words: what a crash leaves behind may stay.
    case journal(String)
    /// Why the journal is not written, in words; nil when it is, after it was not. It is tried again and again.
    case journalState(String?)
    /// The firewall's table can't be loaded: VIPs that accept nothing can't be had until it can.
    case firewall(SystemError)
    /// Another program removed the firewall's table; it is there again.
    case firewallRestored
    /// The VIP's addresses of that family go on the device of this index, which has the virtual MAC. Told when the device was made, at
    /// the start or anew, and before `.added`: whoever removes addresses in this thread's place needs it.
    case device(Int, AddressFamily, index: Int32)
    /// The device of a virtual MAC, by its name, has no filter of what it sends: see `DeviceSilence`.
    case notSilenced(String, SystemError)
    /// An IPv6 address on a virtual MAC may be out of reach behind switches that follow listeners' reports: see `SolicitedNodeGroups`.
    case notListening(SystemError)
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
      /// The configuration no longer has it, or has it on another interface.
      case reconfigured
      /// It accepts nothing, and the firewall that has to see to it is gone.
      case unprotected
    }
  }

  enum Command: Sendable {
    case take(Int, UInt64, Duration?, announcing: Bool)
    case renew(Int, UInt64, Duration?)
    case release(Int, UInt64)
    case announce(Int, UInt64)
    case configure([VIP], watching: [String])
    case pause(Pause)
    case stop
  }

  public let record: OwnershipRecord
  private let commands: Mailbox<Command>
  private let counting: CounterBox
  private let thread: Thread

  /// Starts the thread in the calling thread's network namespace. It first removes what the journal says that an earlier life left
  /// behind, then reports the interfaces. A VIP that is owned by the record, and whose addresses are there, is kept as it is.
  /// - Parameters:
  ///   - watching: interfaces by name; empty for all.
  ///   - record: where ownership is written; its capacity is above every VIP's number.
  ///   - isPreferred: before ordinary programs, so that a busy machine does not make a failover slow, where that is allowed.
  ///   - journal: the path of the file that names what may have to be removed; its folder must be there. Nil: none is kept.
  /// - Throws: also where a VIP accepts nothing, and the firewall that has to see to it can't be loaded.
  public init(
    _ vips: [VIP], watching: [String], record: OwnershipRecord, journal: String? = nil, isPreferred: Bool = false,
    report: @escaping @Sendable (Report) -> Void
  ) throws(SystemError) {
    self.record = record
    let commands = try Mailbox<Command>()
    self.commands = commands
    counting = CounterBox()
    // Made here, so that what is missing is known at once; used by the new thread alone.
    nonisolated(unsafe) let keeper = try AddressKeeper(
      vips, watching: watching, record, journal: journal, counting: counting, report: report)
    nonisolated(unsafe) let reactor = try Reactor()
    thread = try Thread.start(named: "roost-addresses") {
      if isPreferred { try? Scheduling.becomePreferred() }
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
    try reactor.register(keeper.claims.descriptor, .readable) { _ in keeper.readClaims() }
    if let firewall = keeper.firewallWatch {
      try reactor.register(firewall.descriptor, .readable) { _ in keeper.readFirewall() }
    }
    try reactor.register(commands.waker.descriptor, .readable) { _ in
      commands.waker.acknowledge()
      commands.drain { command in
        keeper.handle(command)
        if case .pause(let pause) = command {
          pause.reached.signal()
          while !pause.ended.wait(for: .seconds(60)) {}
        }
        if case .stop = command { reactor.stop() }
      }
      keeper.flush()
    }
    try reactor.run(deadline: { keeper.deadline }) { keeper.actOnDeadline($0) }
  }

  /// Puts the VIP's addresses on its interface and announces each. Answered by `.added` or `.failed`.
  /// - Parameters:
  ///   - lease: how long the kernel keeps them unless they are renewed, in whole seconds; nil for ever.
  ///   - announcing: false where something has to happen before the neighbours are told; `announce` tells them then.
  public func take(_ vip: Int, generation: UInt64, lease: Duration?, announcing: Bool = true) {
    record.grant(vip, generation: generation)
    commands.send(.take(vip, generation, lease, announcing: announcing))
  }

  /// From now on these are the VIPs. One that is known by its number and held gets just the difference: what is new is added and
  /// announced, what is no longer there is removed, all in its generation. One that is missing is removed, whoever owns it.
  /// - Parameter watching: as at the start.
  public func configure(_ vips: [VIP], watching: [String]) {
    commands.send(.configure(vips, watching: watching))
  }

  /// The thread at rest, between two commands, until `resume`: another process may then do its work.
  public final class Pause: Sendable {
    fileprivate let reached: Semaphore
    fileprivate let ended: Semaphore

    fileprivate init() throws(SystemError) {
      reached = try Semaphore()
      ended = try Semaphore()
    }

    /// The thread goes on with what was asked of it meanwhile; then it sees what became of the addresses.
    public func end() { ended.signal() }
  }

  /// Has the thread do nothing from now on, and waits until that is so. Leases go on running out.
  ///
  /// Not for the loop. Where it is never ended, the process must end without `stop`.
  /// - Returns: nil where the thread did not come to rest within that time; it goes on.
  public func pause(within limit: Duration) throws(SystemError) -> Pause? {
    let pause = try Pause()
    commands.send(.pause(pause))
    guard pause.reached.wait(for: limit) else {
      pause.end()
      return nil
    }
    return pause
  }

  /// What happened so far.
  public var counters: AddressCounters { counting.value }

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

  /// Ends the thread after what is queued, and waits for it. Addresses stay as they are; where none is held, everything else that
  /// was put on this host goes, and the journal with it.
  public func stop() {
    commands.send(.stop)
    thread.join()
  }
}
