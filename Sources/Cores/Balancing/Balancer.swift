import Basis

/// Chooses a backend for each new connection of one service.
///
/// A value without clock or I/O. Picking costs time in proportion to the number of backends and allocates nothing.
/// A backend takes part while it is usable and its weight is above zero.
///
/// ```swift
/// var balancer = Balancer(.leastConnections, backends: names.map { .init(key: stableDigest(of: $0), weight: 100) }, seed: 1)
/// if let chosen = balancer.pick(source: stableDigest(of: client)) {
///   balancer.began(chosen)   // … and when the connection is over: balancer.ended(chosen)
/// }
/// ```
public struct Balancer: Sendable {
  /// How a backend is chosen. The raw values are the configuration's words.
  public enum Policy: String, Sendable, Hashable, CaseIterable {
    /// In turn, in proportion to the weights, interleaved: weights 2 and 1 give A B A, not A A B.
    case roundRobin = "round-robin"
    /// The fewest open connections for its weight; equals take turns.
    case leastConnections = "least-connections"
    /// By chance, in proportion to the weights.
    case random
    /// By the client's address: a client stays with its backend, and one that goes away moves only its own clients.
    case sourceHash = "source-hash"

    public static let standard = Policy.leastConnections
  }

  /// One backend as its owner describes it.
  public struct Backend: Sendable, Hashable {
    /// What `sourceHash` knows the backend by: `stableDigest(of:)` its name, so that every node agrees on it
    /// and neither order nor number of the others matters.
    public var key: UInt64
    /// Its share relative to the others', 0 (no new connections) to `Balancer.heaviest`.
    public var weight: Int
    public var usable: Bool

    public init(key: UInt64, weight: Int, usable: Bool = true) {
      self.key = key
      self.weight = weight
      self.usable = usable
    }
  }

  /// The largest weight; larger ones count as this. It keeps every sum here far from overflow.
  public static let heaviest = 1_000_000

  public let policy: Policy
  var entries: [Entry]
  /// Where the search among equals begins.
  var cursor: Int
  var random: SplitMix64

  /// - Parameter seed: feeds `random`, and shifts where turns begin, so that several balancers of one service
  ///   (one a worker) do not all begin with the first backend.
  public init(_ policy: Policy, backends: [Backend], seed: UInt64) {
    self.policy = policy
    entries = backends.map(Entry.init)
    cursor = backends.isEmpty ? 0 : Int(seed % UInt64(backends.count))
    random = SplitMix64(seed: seed)
    guard policy == .roundRobin else { return }
    for _ in 0..<cursor { _ = nextInTurn(excluding: .none) }
  }

  public var count: Int { entries.count }

  /// Connections that `backend` carries now, as `began` and `ended` told.
  public func connections(of backend: Int) -> Int { entries[backend].connections }

  /// The backend for a new connection, as an index, or nil where none may take it.
  ///
  /// - Parameters:
  ///   - source: `stableDigest(of:)` the client's address. Only `sourceHash` looks at it.
  ///   - excluding: backends already tried for this connection.
  public mutating func pick(source: UInt64, excluding tried: Tried = .none) -> Int? {
    switch policy {
    case .roundRobin: nextInTurn(excluding: tried)
    case .leastConnections: leastLoaded(excluding: tried)
    case .random: drawn(excluding: tried)
    case .sourceHash: highestScore(source: source, excluding: tried)
    }
  }

  /// A connection to `backend` was begun.
  public mutating func began(_ backend: Int) { entries[backend].connections += 1 }

  /// A connection to `backend` is over, however it ended. More ends than beginnings count as none.
  public mutating func ended(_ backend: Int) {
    if entries[backend].connections > 0 { entries[backend].connections -= 1 }
  }

  /// Takes the backend in or out of service, or changes its share. Open connections are not touched.
  public mutating func set(_ backend: Int, usable: Bool, weight: Int) {
    entries[backend].usable = usable
    entries[backend].weight = Balancer.clamped(weight)
    // A share from before would be paid out in one burst.
    entries[backend].credit = 0
  }

  static func clamped(_ weight: Int) -> Int { min(max(weight, 0), heaviest) }
}

extension Balancer {
  /// The backends that one connection has tried: the last four, in eight bytes.
  public struct Tried: Sendable, Hashable {
    private var last = SIMD4<UInt16>(repeating: .max)

    public static let none = Tried()

    public init() {}

    public init(_ backends: Int...) { for backend in backends { insert(backend) } }

    /// Adds a backend; the oldest of four is forgotten.
    public mutating func insert(_ backend: Int) {
      last = SIMD4(UInt16(truncatingIfNeeded: backend), last[0], last[1], last[2])
    }

    public func contains(_ backend: Int) -> Bool {
      let wanted = UInt16(truncatingIfNeeded: backend)
      return last[0] == wanted || last[1] == wanted || last[2] == wanted || last[3] == wanted
    }
  }

  struct Entry: Sendable {
    let key: UInt64
    var weight: Int
    var usable: Bool
    var connections = 0
    /// Round-robin: what this backend is owed.
    var credit = 0

    init(_ backend: Backend) {
      key = backend.key
      weight = Balancer.clamped(backend.weight)
      usable = backend.usable
    }
  }

  /// The most backends a service can have: an index has to fit `Tried`.
  public static let mostBackends = 65_535
}
