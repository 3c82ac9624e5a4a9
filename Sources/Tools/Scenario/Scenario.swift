/// A story of what goes wrong and what must hold all the same: read from a small text file, run by the simulator on
/// virtual time and by the lab on real machines' parts.
///
/// Time zero is the moment when the cluster has settled: every node runs, one owns the VIP, every backend is up.
public struct Scenario: Sendable, Hashable {
  /// The file's name without `.scenario`.
  public var name: String
  /// The first comment line, without the name.
  public var title: String
  /// The comment lines below the title: the topology, drawn.
  public var drawing: [String]
  /// How many nodes, 1-32; they are called lb1, lb2, … and preferred in this order.
  public var nodes: Int
  /// How many backends, 0-64; they are called app1, app2, …
  public var backends: Int
  /// Between two adverts of the owner.
  public var interval: Duration
  /// What is done to the cluster, in order of time.
  public var steps: [Step]
  /// When the story ends, after time zero.
  public var end: Duration
  public var expectations: [Expectation]

  public init(
    name: String, title: String, drawing: [String] = [], nodes: Int = 2, backends: Int = 3,
    interval: Duration = .milliseconds(100), steps: [Step], end: Duration, expectations: [Expectation]
  ) {
    self.name = name
    self.title = title
    self.drawing = drawing
    self.nodes = nodes
    self.backends = backends
    self.interval = interval
    self.steps = steps
    self.end = end
    self.expectations = expectations
  }

  public var nodeNames: [String] { (0..<nodes).map { "lb\($0 + 1)" } }
  public var backendNames: [String] { (0..<backends).map { "app\($0 + 1)" } }
}

/// One line of the story: at that time, this is done.
public struct Step: Sendable, Hashable {
  /// After time zero.
  public var at: Duration
  public var action: Action
  /// Where it stands in the file, from 1; 0 where there is no file.
  public var line: Int

  public init(at: Duration, _ action: Action, line: Int = 0) {
    self.at = at
    self.action = action
    self.line = line
  }
}

/// Which node or nodes are meant. What depends on who owns the VIP is settled when the step is done.
public enum Selector: Sendable, Hashable {
  /// Index into `Scenario.nodeNames`.
  case node(Int)
  /// The node that owns the VIP; the first by name if several do.
  case owner
  /// The first node by name that runs and doesn't own the VIP.
  case backup
  case all
  /// The nodes that the other groups of a partition leave.
  case rest
}

/// From one node to another, or both ways.
public struct Path: Sendable, Hashable {
  public var from: Selector
  public var to: Selector
  public var bothWays: Bool

  public init(from: Selector, to: Selector, bothWays: Bool) {
    self.from = from
    self.to = to
    self.bothWays = bothWays
  }
}

/// What a step does.
public enum Action: Sendable, Hashable {
  /// SIGTERM: the node gives up what it owns, then ends.
  case stop(Selector)
  /// SIGKILL of the daemon. The machine, its addresses and its link stay.
  case kill(Selector)
  /// SIGSTOP, and SIGCONT after that time.
  case stall(Selector, for: Duration)
  /// The machine dies: its processes and its link in the same instant.
  case nodeDead(Selector)
  /// The link loses its carrier.
  case linkDown(Selector)
  /// The link keeps its carrier and carries nothing.
  case linkCut(Selector)
  /// Nodes of different groups don't hear each other; the client and the backends hear all.
  case partition([[Selector]])
  /// What `from` sends doesn't reach `to`.
  case oneWay(from: Selector, to: Selector)
  /// That share of the packets is lost, 0 to 1.
  case loss(Path, share: Double)
  /// Packets arrive that much later. Only the simulator does it: the lab refuses it before it builds anything.
  case delay(Path, by: Duration)
  /// Starts the daemon where it doesn't run; a dead machine gets its link back too.
  case start(Selector)
  /// SIGTERM, and a new start as soon as the daemon has ended.
  case restart(Selector)
  /// Undoes every fault: links and paths whole, stalled processes continued, nodes and backends started.
  case heal
  /// Index into `Scenario.backendNames`. SIGKILL: its connections are reset, new ones refused.
  case backendKill(Int)
  case backendStart(Int)

  /// The word that names it in a file.
  public var word: String {
    switch self {
    case .stop: "stop"
    case .kill: "kill"
    case .stall: "stall"
    case .nodeDead: "node-dead"
    case .linkDown: "link-down"
    case .linkCut: "link-cut"
    case .partition: "partition"
    case .oneWay: "one-way"
    case .loss: "loss"
    case .delay: "delay"
    case .start: "start"
    case .restart: "restart"
    case .heal: "heal"
    case .backendKill: "backend-kill"
    case .backendStart: "backend-start"
    }
  }

  /// False for what only puts things right again.
  public var isFault: Bool {
    switch self {
    case .heal, .start, .backendStart: false
    default: true
    }
  }
}
