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
  /// What the cluster is configured with, beside its size.
  public var options: Options
  /// What is done to the cluster, in order of time.
  public var steps: [Step]
  /// When the story ends, after time zero.
  public var end: Duration
  public var expectations: [Expectation]

  public init(
    name: String, title: String, drawing: [String] = [], nodes: Int = 2, backends: Int = 3,
    interval: Duration = .milliseconds(100), options: Options = Options(), steps: [Step], end: Duration,
    expectations: [Expectation]
  ) {
    self.name = name
    self.title = title
    self.drawing = drawing
    self.nodes = nodes
    self.backends = backends
    self.interval = interval
    self.options = options
    self.steps = steps
    self.end = end
    self.expectations = expectations
  }

  /// What a file may say of the cluster's configuration. What it doesn't say is as below.
  public struct Options: Sendable, Hashable {
    /// `vips 255`: 1-255, each with an election of its own, all preferring the nodes in their order. Expectations are about the
    /// first.
    public var vips = 1
    /// `auth enforce`: adverts without the cluster's key never reach the election.
    public var authentication = Authentication.off
    /// `peer-link off`: the nodes have VRRP and nothing else.
    public var peerLink = true
    /// `guardian off`: nobody acts for a daemon that is dead or stalled, save the kernel.
    public var guardian = true
    /// `preempt off`: an owner stays one when a preferred node comes back.
    public var preempt = true
    /// `lease 2s`, `lease off`: how long the kernel keeps an address that nobody renews, whole seconds; nil for ever.
    public var lease: Duration? = .seconds(2)

    public init() {}
  }

  public enum Authentication: String, Sendable, Hashable, CaseIterable {
    case off, receive, permissive, enforce
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
