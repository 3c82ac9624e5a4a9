import Basis

/// One link that all nodes share: who reaches whom now, and what happens to a packet on the way.
struct Network {
  /// What a path does to packets without any fault.
  struct Weather: Sendable, Hashable {
    /// From sender to receiver, nanoseconds; the rest is jitter on top, evenly spread. Jitter beyond the gap between two
    /// packets changes their order.
    var latency: Int64 = 40_000
    var jitter: Int64 = 60_000
    var loss: Double = 0
    var duplication: Double = 0
  }

  let nodes: Int
  var weather: Weather
  /// How many faults pull a node's cable, or let it carry nothing.
  private(set) var down: [Int]
  private(set) var cut: [Int]
  /// How many faults take the interface's name away: the link is there, and the daemon can neither send nor hear on it.
  private(set) var deaf: [Int]
  /// How many faults have deleted the interface.
  private(set) var gone: [Int]
  /// How many faults cut the path from one to another: [from × nodes + to].
  private(set) var cutPaths: [Int]
  /// Shares lost and delays of the faults on a path: a list each, for several may overlap.
  private var losses: [[Double]]
  private var delays: [[Int64]]
  /// Of each path, from the lists above.
  private var loss: [Double]
  private var delay: [Int64]

  init(nodes: Int, weather: Weather) {
    self.nodes = nodes
    self.weather = weather
    down = Array(repeating: 0, count: nodes)
    cut = down
    deaf = down
    gone = down
    cutPaths = Array(repeating: 0, count: nodes * nodes)
    losses = Array(repeating: [], count: nodes * nodes)
    delays = Array(repeating: [], count: nodes * nodes)
    loss = Array(repeating: 0, count: nodes * nodes)
    delay = Array(repeating: 0, count: nodes * nodes)
  }

  func hasCarrier(_ node: Int) -> Bool { down[node] == 0 && gone[node] == 0 }
  func hasInterface(_ node: Int) -> Bool { gone[node] == 0 }
  func hasName(_ node: Int) -> Bool { deaf[node] == 0 }
  /// Whether the client and the backends reach the node.
  func isConnected(_ node: Int) -> Bool { down[node] == 0 && cut[node] == 0 && gone[node] == 0 }
  /// Whether the node can send adverts and hear them, if there is anybody.
  func canSpeak(_ node: Int) -> Bool { isConnected(node) && deaf[node] == 0 }
  /// Whether adverts get from one to the other at all.
  func reaches(_ from: Int, _ to: Int) -> Bool {
    canSpeak(from) && canSpeak(to) && cutPaths[from * nodes + to] == 0 && loss[from * nodes + to] < 1
  }
  /// Whether no fault of any kind is on the path.
  func isClean(_ from: Int, _ to: Int) -> Bool {
    reaches(from, to) && loss[from * nodes + to] == 0 && delay[from * nodes + to] == 0
  }
  /// The longest that a packet can be on its way now, nanoseconds.
  var longestDelay: Int64 { weather.latency + weather.jitter + (delay.max() ?? 0) }

  mutating func change(_ fault: PathFault, _ from: Int, _ to: Int, begins: Bool) {
    let path = from * nodes + to
    switch fault {
    case .cut: cutPaths[path] = max(0, cutPaths[path] + (begins ? 1 : -1))
    case .loss(let share):
      if begins {
        losses[path].append(share)
      } else if let index = losses[path].firstIndex(of: share) {
        losses[path].remove(at: index)
      }
      loss[path] = 1 - losses[path].reduce(1) { $0 * (1 - $1) }
    case .delay(let by):
      if begins {
        delays[path].append(by)
      } else if let index = delays[path].firstIndex(of: by) {
        delays[path].remove(at: index)
      }
      delay[path] = delays[path].reduce(0, +)
    }
  }

  mutating func pullCable(_ node: Int, _ begins: Bool) { down[node] = max(0, down[node] + (begins ? 1 : -1)) }
  mutating func cutLink(_ node: Int, _ begins: Bool) { cut[node] = max(0, cut[node] + (begins ? 1 : -1)) }
  mutating func delete(_ node: Int, _ begins: Bool) { gone[node] = max(0, gone[node] + (begins ? 1 : -1)) }
  mutating func rename(_ node: Int, _ begins: Bool) { deaf[node] = max(0, deaf[node] + (begins ? 1 : -1)) }
  /// Whether a stream between two nodes' own addresses makes progress: the interfaces' names don't matter to it.
  func carriesStream(_ first: Int, _ second: Int) -> Bool {
    isConnected(first) && isConnected(second)
      && cutPaths[first * nodes + second] == 0 && cutPaths[second * nodes + first] == 0
      && loss[first * nodes + second] < 0.5 && loss[second * nodes + first] < 0.5
  }
  /// How much later than usual a stream's bytes arrive, nanoseconds; lost ones are sent again after 200 ms.
  func streamDelay(_ from: Int, _ to: Int, _ random: inout SplitMix64) -> Int64 {
    let path = from * nodes + to
    var extra = delay[path] + Int64(random.next(below: UInt64(weather.jitter) + 1))
    while loss[path] > 0, random.nextFraction() < loss[path], extra < 2_000_000_000 { extra += 200_000_000 }
    return weather.latency + extra
  }

  mutating func restoreLink(_ node: Int) {
    down[node] = 0
    cut[node] = 0
    deaf[node] = 0
    gone[node] = 0
  }

  /// Every fault is over.
  mutating func heal() { self = Network(nodes: nodes, weather: weather) }

  /// How long a packet takes, and its copy if there is one; nil where it is lost.
  @inline(__always)
  func journey(_ from: Int, _ to: Int, _ random: inout SplitMix64) -> (first: Int64, copy: Int64?)? {
    guard reaches(from, to) else { return nil }
    let path = from * nodes + to
    // Faults and weather are apart: what one lets pass the other may lose.
    if loss[path] > 0, random.nextFraction() < loss[path] { return nil }
    if weather.loss > 0, random.nextFraction() < weather.loss { return nil }
    let first = weather.latency + delay[path] + Int64(random.next(below: UInt64(weather.jitter) + 1))
    guard weather.duplication > 0, random.nextFraction() < weather.duplication else { return (first, nil) }
    return (first, weather.latency + delay[path] + Int64(random.next(below: UInt64(weather.jitter) * 4 + 1)))
  }
}

/// What can be wrong with the path from one node to another.
enum PathFault: Sendable, Hashable {
  case cut
  case loss(Double)
  /// Nanoseconds.
  case delay(Int64)
}
