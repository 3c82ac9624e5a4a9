/// Every order in which renewal, removal, revocation, expiry, theft and putting back can happen to one address of one node.
///
/// `World` meets the orders that time and a seed make. Here each step of the loop, the address thread, the kernel, the guardian and
/// whatever disturbs them is tried in each state that can be reached, over the same fence (`Place`). Two things must hold:
///
/// - the thread begins no message that adds an address for an ownership that is over;
/// - from every state, if nothing more goes wrong, the address is soon on the interface only if the ownership holds: at once where the
///   daemon runs or the guardian lives, at the end of the lease where neither does.
public struct Interleavings: Sendable {
  /// What is left out of the fence, to see that it is missed.
  public enum Weakness: Sendable, Hashable, CaseIterable {
    /// The thread sends without reading the record and the clock.
    case sendsUnread
    /// The thread doesn't look again when the kernel tells of a change.
    case looksNever
    /// The guardian removes once and doesn't watch what comes after.
    case removesOnce
    /// The guardian removes what the record says is owned, and not what the loop had ended and the thread not yet removed.
    case removesOwnedOnly
    /// The kernel keeps addresses for ever.
    case noLease
  }

  public struct Failure: Sendable {
    public var what: String
    /// The steps that lead to it, from the beginning; as few as there can be.
    public var steps: [String]
  }

  public private(set) var states = 0
  public private(set) var transitions = 0
  public private(set) var failure: Failure?

  /// Tries them all, or stops at the first failure.
  public init(without weaknesses: Set<Weakness> = []) {
    var known: [State: Int] = [:]
    var order: [State] = [State(weaknesses)]
    var cameFrom: [(state: Int, step: Step)?] = [nil]
    var settled: [State: Bool] = [:]
    known[order[0]] = 0
    var index = 0
    while index < order.count, failure == nil {
      let state = order[index]
      for step in state.possible(weaknesses) {
        transitions += 1
        var next = state
        let isRight = next.take(step, weaknesses)
        if !isRight || known[next] == nil {
          known[next] = order.count
          order.append(next)
          cameFrom.append((index, step))
        }
        let problem =
          isRight ? next.problem(weaknesses, &settled) : "the thread sends for an ownership that is over"
        if let problem {
          failure = Failure(what: problem, steps: Self.path(to: order.count - 1, cameFrom))
          if let place = known[next], isRight { failure?.steps = Self.path(to: place, cameFrom) }
          break
        }
      }
      index += 1
    }
    states = order.count
  }

  private static func path(to end: Int, _ cameFrom: [(state: Int, step: Step)?]) -> [String] {
    var steps: [String] = []
    var index = end
    while let (state, step) = cameFrom[index] {
      steps.append(step.rawValue)
      index = state
    }
    return steps.reversed()
  }

  enum Step: String, CaseIterable {
    case renews = "the loop orders a renewal"
    case releases = "the loop ends the ownership and orders a removal"
    case takes = "the loop takes the VIP again"
    case learns = "the loop reads in the record that it was deposed"
    case loses = "the loop finds its lease over"
    case reads = "the thread reads the record and the clock"
    case sends = "the thread gives its message to the kernel"
    case looks = "the thread looks at what the kernel told"
    case finishes = "the kernel does what the message says"
    case expires = "the kernel ends the lease"
    case steals = "another program removes the address"
    case stops = "the daemon is stopped"
    case goesOn = "the daemon is continued"
    case dies = "the daemon dies"
    case guardianDies = "the guardian dies"
    case holds = "the guardian stops the daemon"
    case deposes = "the guardian ends the ownership"
    case removes = "the guardian says farewell and removes the address"
    case lets = "the guardian continues the daemon"
    case removesAgain = "the guardian removes what turned up again"
    case waits = "a lease's length passes"
  }

  /// What nobody can help, and what people do; all else repairs.
  private static let disturbances: Set<Step> = [
    .renews, .releases, .takes, .steals, .stops, .dies, .guardianDies, .waits,
  ]

  struct State: Hashable {
    enum Daemon { case running, stopped, dead }
    enum Guardian { case watching, held, deposed, removed, dead }

    var place = Place()
    var now: Int64 = 0
    var daemon = Daemon.running
    var guardian = Guardian.watching
    /// The daemon was stopped by a fault, and not by the guardian alone.
    var isStoppedByFault = false
    var isDeathSeen = false
    /// What the loop takes for its ownership; 0: none.
    var owned: UInt64 = 1
    var orders: [Order] = []
    /// What the thread has read the record for, and not sent.
    var ready: Order?
    /// What the kernel is at.
    var inKernel: Order?
    var hasNews = false
    var hasGuardianNews = false
    // How much may still happen.
    var renewals = 1
    var thefts = 1
    var stops = 1
    var takes = 1
    var releases = 1
    var waits = 1
    var deaths = 1
    var guardianDeaths = 1

    private static let lease: Int64 = 10_000_000_000

    init(_ weaknesses: Set<Weakness>) {
      place.grant(1)
      place.held = 1
      place.isPresent = true
      place.until = weaknesses.contains(.noLease) ? nil : Self.lease
      place.expiry = place.until
    }

    /// The address is where nobody may have it.
    var isBad: Bool {
      guard place.isPresent else { return false }
      return !place.isOwner(place.granted) || (place.expiry.map { $0 <= now } ?? false)
    }

    // MARK: Steps

    func possible(_ weaknesses: Set<Weakness>) -> [Step] { Step.allCases.filter { isPossible($0, weaknesses) } }

    func isPossible(_ step: Step, _ weaknesses: Set<Weakness>) -> Bool {
      let runs = daemon == .running
      let owns = owned > 0 && place.unacknowledged == nil
      return switch step {
      case .renews: runs && owns && renewals > 0
      case .releases: runs && owns && releases > 0
      case .takes: runs && owned == 0 && place.unacknowledged == nil && takes > 0
      case .learns: runs && place.unacknowledged != nil
      case .loses: runs && owns && (place.until.map { $0 <= now } ?? false)
      case .reads: runs && ready == nil && inKernel == nil && !orders.isEmpty
      case .sends: runs && ready != nil
      case .looks: runs && ready == nil && inKernel == nil && hasNews && !weaknesses.contains(.looksNever)
      case .finishes: inKernel != nil
      case .expires: place.isPresent && (place.expiry.map { $0 <= now } ?? false)
      case .steals: place.isPresent && thefts > 0
      case .stops: runs && stops > 0
      case .goesOn: daemon == .stopped && isStoppedByFault && guardian == .watching
      case .dies: daemon != .dead && deaths > 0
      case .guardianDies: guardian != .dead && guardianDeaths > 0
      case .holds: guardian == .watching && isStoppedByFault && daemon == .stopped && isConcerned(weaknesses)
      case .deposes: guardian == .held || guardian == .watching && daemon == .dead && !isDeathSeen
      case .removes: guardian == .deposed
      case .lets: guardian == .removed
      case .removesAgain:
        guardian == .watching && hasGuardianNews && !weaknesses.contains(.removesOnce) && place.isPresent
          && !place.isOwner(place.granted)
          && (place.unacknowledged != nil || daemon != .running && !weaknesses.contains(.removesOwnedOnly))
      case .waits: waits > 0
      }
    }

    /// Whether there is something for the guardian to do once the daemon is silent.
    private func isConcerned(_ weaknesses: Set<Weakness>) -> Bool {
      place.isOwner(place.granted) || place.isPresent && !weaknesses.contains(.removesOwnedOnly)
    }

    /// False where the step itself is wrong.
    mutating func take(_ step: Step, _ weaknesses: Set<Weakness>) -> Bool {
      switch step {
      case .renews:
        renewals -= 1
        add(.renew, owned, weaknesses)
      case .releases:
        releases -= 1
        letGo()
      case .takes:
        takes -= 1
        owned = place.granted + 1
        place.grant(owned)
        add(.take, owned, weaknesses)
      case .learns:
        place.acknowledged = place.deposed
        if owned <= place.deposed { owned = 0 }
        hasNews = true
      case .loses: letGo()
      case .reads: return read(weaknesses)
      case .sends:
        inKernel = ready
        ready = nil
      case .looks: look()
      case .finishes: finish()
      case .expires:
        _ = place.expire(at: now)
        hasNews = true
      case .steals:
        thefts -= 1
        place.removeFromOutside()
        hasNews = true
      case .waits:
        waits -= 1
        now += Self.lease + 1_000_000_000
      default: takeProcess(step, weaknesses)
      }
      return true
    }

    private mutating func takeProcess(_ step: Step, _ weaknesses: Set<Weakness>) {
      switch step {
      case .stops:
        stops -= 1
        isStoppedByFault = true
        daemon = .stopped
      case .goesOn:
        isStoppedByFault = false
        daemon = .running
      case .dies:
        deaths -= 1
        daemon = .dead
        orders = []
        ready = nil
        hasNews = false
      case .guardianDies:
        guardianDeaths -= 1
        guardian = .dead
      case .holds: guardian = .held
      case .deposes:
        if daemon == .dead { isDeathSeen = true }
        let isConcerned = isConcerned(weaknesses)
        _ = place.depose()
        guardian = isConcerned ? .deposed : daemon == .dead ? .watching : .removed
      case .removes:
        place.removeFromOutside()
        hasNews = true
        guardian = .removed
      case .lets:
        guardian = .watching
        if daemon == .stopped {
          isStoppedByFault = false
          daemon = .running
        }
      case .removesAgain:
        if !place.isOwner(place.granted) { place.removeFromOutside() }
        hasGuardianNews = false
        hasNews = true
      default: break
      }
    }

    private mutating func add(_ kind: Order.Kind, _ generation: UInt64, _ weaknesses: Set<Weakness>) {
      let lease = weaknesses.contains(.noLease) || kind == .release ? nil : Self.lease
      orders.append(Order(kind: kind, vip: 0, generation: generation, lease: lease))
    }

    private mutating func letGo() {
      place.revoke(owned)
      add(.release, owned, [])
      owned = 0
    }

    private mutating func read(_ weaknesses: Set<Weakness>) -> Bool {
      var order = orders.removeFirst()
      guard place.allows(order, at: now, isFenced: !weaknesses.contains(.sendsUnread)) else {
        hasNews = true
        return true
      }
      order.read = now
      ready = order
      return order.kind == .release || place.isOwner(order.generation)
    }

    private mutating func finish() {
      guard let order = inKernel else { return }
      inKernel = nil
      _ = place.perform(order, at: now, late: 0)
      // The dead tell nobody, and hear nothing.
      hasNews = daemon != .dead
      if order.kind != .release { hasGuardianNews = true }
    }

    private mutating func look() {
      hasNews = false
      switch place.discrepancy(at: now) {
      case nil: break
      case .missing:
        if !orders.contains(where: { $0.kind == .putBack }) {
          orders.append(Order(kind: .putBack, vip: 0, generation: place.held))
        }
      case .revoked, .expired, .stray: place.forget()
      }
    }

    // MARK: The end

    /// What stays wrong although nothing more goes wrong; nil where all comes right.
    func problem(_ weaknesses: Set<Weakness>, _ settled: inout [State: Bool]) -> String? {
      guard isBad, !settles(weaknesses, waiting: false, &settled) else { return nil }
      let canAct = daemon == .running || guardian != .dead
      if canAct, !(guardian == .dead && daemon != .running) {
        return "the address stays though its ownership is over, and somebody could remove it"
      }
      var later = self
      // No message takes as long as a lease.
      if inKernel != nil { later.finish() }
      later.now += 2 * Self.lease
      var none: [State: Bool] = [:]
      return later.settles(weaknesses, waiting: true, &none) ? nil : "the address stays for ever"
    }

    /// Whether every order of the steps that repair ends well.
    private func settles(_ weaknesses: Set<Weakness>, waiting: Bool, _ settled: inout [State: Bool]) -> Bool {
      if let known = settled[self] { return known }
      // A circle of repairs would be one that never ends.
      settled[self] = false
      var result = true
      var any = false
      for step in possible(weaknesses) where !Interleavings.disturbances.contains(step) && step != .goesOn {
        any = true
        var next = self
        if !next.take(step, weaknesses) || !next.settles(weaknesses, waiting: waiting, &settled) { result = false }
        if !result { break }
      }
      if !any { result = !isBad }
      settled[self] = result
      return result
    }
  }
}
