import Basis
import Node
import Simulator
import VRRP

// Nodes with one thing wrong each, to see that a checker sees it.

/// Says that it lets go, and doesn't.
struct NeverReleases: ControlPlane {
  var node: Node
  var deadline: Instant? { node.deadline }

  init(_ settings: NodeSettings, seed: UInt64) { node = Node(settings, seed: seed) }

  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    var released: [(Int, UInt64)] = []
    node.handle(event, at: now) { effect in
      if case .release(let vip, let generation) = effect { released.append((vip, generation)) } else { emit(effect) }
    }
    for (vip, generation) in released {
      node.handle(.address(vip: vip, .removed(generation: generation)), at: now, emit)
    }
  }

  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    var released: [(Int, UInt64)] = []
    node.receive(message, in: envelope, at: now) { effect in
      if case .release(let vip, let generation) = effect { released.append((vip, generation)) } else { emit(effect) }
    }
    for (vip, generation) in released {
      node.handle(.address(vip: vip, .removed(generation: generation)), at: now, emit)
    }
  }
}

/// Doesn't care that somebody better speaks once it owns.
struct IgnoresBetter: ControlPlane {
  var node: Node
  var deadline: Instant? { node.deadline }

  init(_ settings: NodeSettings, seed: UInt64) { node = Node(settings, seed: seed) }

  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) { node.handle(event, at: now, emit) }

  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    if node.vips.contains(where: { $0.state == .active }) { return }
    node.receive(message, in: envelope, at: now, emit)
  }
}

/// Sends adverts as the owner and doesn't renew; and doesn't hear that its lease has ended.
struct NeverRenews: ControlPlane {
  var node: Node
  var deadline: Instant? { node.deadline }

  init(_ settings: NodeSettings, seed: UInt64) {
    // To itself it owns without a lease.
    var settings = settings
    for vip in settings.vips.indices { settings.vips[vip].lease = nil }
    node = Node(settings, seed: seed)
  }

  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    var event = event
    if case .address(_, .vanished) = event { return }
    if case .address(let vip, .added(let generation, _)) = event {
      event = .address(vip: vip, .added(generation: generation, until: nil))
    }
    node.handle(event, at: now) { effect in
      if case .take(let vip, let generation, _, let announcing) = effect {
        emit(.take(vip: vip, generation: generation, lease: .seconds(1), announcing: announcing))
      } else {
        emit(effect)
      }
    }
  }

  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    node.receive(message, in: envelope, at: now) { effect in
      if case .take(let vip, let generation, _, let announcing) = effect {
        emit(.take(vip: vip, generation: generation, lease: .seconds(1), announcing: announcing))
      } else {
        emit(effect)
      }
    }
  }
}

/// Says that it has stopped as soon as it is asked.
struct StopsAtOnce: ControlPlane {
  var node: Node
  var deadline: Instant? { node.deadline }

  init(_ settings: NodeSettings, seed: UInt64) { node = Node(settings, seed: seed) }

  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    if case .stop = event { emit(.stopped) } else { node.handle(event, at: now, emit) }
  }

  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    node.receive(message, in: envelope, at: now, emit)
  }
}

/// Doesn't hear that it is to stop.
struct NeverStops: ControlPlane {
  var node: Node
  var deadline: Instant? { node.deadline }

  init(_ settings: NodeSettings, seed: UInt64) { node = Node(settings, seed: seed) }

  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    if case .stop = event { return }
    node.handle(event, at: now, emit)
  }

  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    node.receive(message, in: envelope, at: now, emit)
  }
}

/// Is asked at its deadline, and keeps it.
struct RunsInACircle: ControlPlane {
  var node: Node
  private var stuck: Instant?
  var deadline: Instant? { stuck ?? node.deadline }

  init(_ settings: NodeSettings, seed: UInt64) { node = Node(settings, seed: seed) }

  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    node.handle(event, at: now, emit)
    if case .timer = event, now > Instant(nanoseconds: 3_000_000_000) { stuck = now }
  }

  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    node.receive(message, in: envelope, at: now, emit)
  }
}

/// Says everything a thousand times.
struct Babbles: ControlPlane {
  var node: Node
  var deadline: Instant? { node.deadline }

  init(_ settings: NodeSettings, seed: UInt64) { node = Node(settings, seed: seed) }

  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    node.handle(event, at: now) { effect in for _ in 0..<1000 { emit(effect) } }
  }

  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    node.receive(message, in: envelope, at: now, emit)
  }
}
