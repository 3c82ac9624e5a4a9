import Basis
import VRRP
import Wire

/// One VIP as this node sees it: its election, and what of it is on the interface.
public struct VirtualAddress: Sendable {
  /// The states of `roost status`.
  public enum State: String, Sendable, Hashable { case initialize, backup, active, fault }

  /// What of the VIP is on this node. A generation names one period of ownership; a new one begins with each `take`.
  public enum Holding: Sendable, Hashable {
    case nothing
    /// Ours. `until`: the kernel removes the addresses then, if no renewal is acknowledged; nil where no lease limits them.
    case held(generation: UInt64, until: Instant?)
    /// Connections are being finished or reset before the addresses go, at the latest at the instant. `leaving`: the election
    /// is still ours and adverts go on, because nobody else has taken over yet.
    case closing(generation: UInt64, until: Instant, lease: Instant?, leaving: Bool)
    /// The addresses are being removed.
    case releasing(generation: UInt64)
  }

  /// What follows when connections have ended and the VIP is still ours.
  enum Departure: Sendable, Hashable {
    /// The election is left.
    case leave
    /// Another node takes over, and this one is its backup.
    case makeWay(Reason)
  }

  public internal(set) var settings: VIPSettings
  var hasServices: Bool
  /// Idle for ever where the election is fixed. Never an optional here: to look at one of its fields through `?` copies all of it.
  var machine: VirtualRouter
  let hasElection: Bool
  public internal(set) var holding = Holding.nothing
  public internal(set) var link: LinkState?
  public internal(set) var state = State.initialize
  /// When `state` began; nil before the start.
  public internal(set) var since: Instant?
  /// Why `state` is what it is, for people.
  public internal(set) var reason = "starting"
  /// While this node is a backup: the owner that was there when `reason` was said, or that was the first to be heard since.
  var explainedOwner: IPAddress?
  /// Announcements asked for since the start.
  public internal(set) var announcements: UInt64 = 0

  var generation: UInt64 = 0
  var departure = Departure.leave
  var renewal: Instant?
  /// The announcement that follows next, and how many of the burst are out.
  var announcement: Instant?
  var announced = 0
  /// Nothing is announced before what `Effect.prepare` started has ended, or this.
  var preparing: Instant?
  /// After the kernel refused the addresses, or somebody else had them: not again before this.
  var retry: Instant?
  var retryReason = ""
  var refusals = 0
  var defence = Defence()
  /// Index into `Node.segments`.
  var segment: Int?
  var listening = Listening()
  /// What takes this place when the VIP has left it; nil: it stays.
  var pending: VIPSettings?

  init(_ settings: VIPSettings, hasServices: Bool) {
    self.settings = settings
    self.hasServices = hasServices
    if case .vrrp(let election) = settings.election {
      machine = VirtualRouter(election)
      hasElection = true
    } else {
      machine = VirtualRouter(VRRP.Settings(id: 0, family: .ipv4, priority: 0, addresses: []))
      hasElection = false
    }
    if settings.isVacant { reason = "not configured" }
  }

  /// Nil where the election is fixed.
  public var router: VirtualRouter? { hasElection ? machine : nil }

  // Inlined, as all small readers of one element of a table here: called, each copies the whole value first.

  /// The VIP's addresses are, or may be, on the interface by this node's doing.
  @inline(__always)
  public var isHeld: Bool {
    switch holding {
    case .held, .closing: true
    case .nothing, .releasing: false
    }
  }

  @inline(__always)
  var isGone: Bool { holding == .nothing }

  /// Connections are being finished while the VIP is still ours.
  @inline(__always)
  var isDraining: Bool { if case .closing(_, _, _, leaving: true) = holding { true } else { false } }

  /// There may be proxied connections, and their clients can be reached.
  @inline(__always)
  var finishesConnections: Bool { hasServices && link?.isUp == true }

  /// The source that adverts need. A fixed election sends none.
  var local: IPAddress? { hasElection ? link?.source(of: machine.settings) : nil }

  /// When the kernel removes the addresses, if no renewal is acknowledged.
  @inline(__always)
  var leaseEnd: Instant? {
    switch holding {
    case .held(_, let until): until
    case .closing(_, _, let lease, _): lease
    case .nothing, .releasing: nil
    }
  }

  @inline(__always)
  var deadline: Instant? {
    var deadline = earlier(machine.deadline, earlier(renewal, earlier(announcement, retry)))
    deadline = earlier(deadline, earlier(preparing, earlier(defence.due, listening.deadline)))
    switch holding {
    case .held(_, let until): deadline = earlier(deadline, until)
    case .closing(_, let until, let lease, _): deadline = earlier(deadline, earlier(until, lease))
    case .nothing, .releasing: break
    }
    return deadline
  }
}
