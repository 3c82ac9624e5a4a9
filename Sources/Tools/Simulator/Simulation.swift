import Basis
import Node
import Scenario
import Synchronization

/// Runs a plan once for each seed, over as many cores as wanted.
///
/// A run is a function of plan and seed alone, so runs share nothing, and a report doesn't depend on how they were spread.
public enum Simulation {
  /// - Parameters:
  ///   - threads: how many runs go on at the same time; more than there are cores gains nothing.
  ///   - progress: told now and then how many runs are done, from any of the threads.
  public static func run(
    _ plan: Plan, seeds: Range<UInt64>, threads: Int = 2, progress: (@Sendable (_ done: Int) -> Void)? = nil
  ) async -> Report {
    await run(plan, seeds: seeds, threads: threads, progress: progress, plane: Node.self)
  }

  /// The same for any control plane: a broken one shows what the checkers see.
  public static func run<Plane: ControlPlane>(
    _ plan: Plan, seeds: Range<UInt64>, threads: Int = 2, progress: (@Sendable (_ done: Int) -> Void)? = nil,
    plane: Plane.Type
  ) async -> Report {
    let tally = Tally(first: seeds.lowerBound)
    let began = ContinuousClock.now
    let outcomes = await withTaskGroup(of: [Outcome].self) { group in
      for _ in 0..<max(1, min(threads, 256)) {
        group.addTask {
          var outcomes: [Outcome] = []
          while !Task.isCancelled {
            let seed = tally.next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard seed < seeds.upperBound else { break }
            outcomes.append(outcome(plan, seed: seed, plane: plane))
            let count = tally.done.wrappingAdd(1, ordering: .relaxed).newValue
            progress?(count)
          }
          return outcomes
        }
      }
      var all: [Outcome] = []
      for await some in group { all += some }
      return all
    }
    return Report(plan, outcomes.sorted { $0.seed < $1.seed }, took: ContinuousClock.now - began)
  }

  /// One run. A broken promise is run again, this time told event by event.
  static func outcome<Plane: ControlPlane>(_ plan: Plan, seed: UInt64, plane: Plane.Type) -> Outcome {
    var world = World<Plane>(plan, seed: seed)
    world.run()
    var outcome = Outcome(&world)
    if outcome.violation != nil {
      outcome.violation?.trace = lastEvents(of: plan, seed: seed, plane: plane)
      outcome.violation?.again = plan.again(seed: seed)
    }
    return outcome
  }

  /// What one node was given and decided in one run: a recording for each life of its daemon, for `Replay`.
  public static func recordings(of node: Int, in plan: Plan, seed: UInt64) -> [[UInt8]] {
    var world = World<Node>(plan, seed: seed)
    world.recorder = Recorder(node: node)
    world.run()
    world.recorder?.finish()
    return world.recorder?.finished ?? []
  }

  /// How many events a violation shows.
  static let shown = 40

  private static func lastEvents<Plane: ControlPlane>(of plan: Plan, seed: UInt64, plane: Plane.Type) -> [String] {
    var world = World<Plane>(plan, seed: seed)
    var lines: [String] = []
    var oldest = 0
    world.narrate = { at, text in
      let line = "\(seconds(at))  \(text)"
      if lines.count < shown {
        lines.append(line)
      } else {
        lines[oldest] = line
        oldest = (oldest + 1) % shown
      }
    }
    world.run()
    return Array(lines[oldest...] + lines[..<oldest])
  }
}

/// What the threads share: which seed comes next, and how many are done.
private final class Tally: Sendable {
  let next: Atomic<UInt64>
  let done = Atomic<Int>(0)

  init(first: UInt64) { next = Atomic(first) }
}

/// What one run came to.
public struct Outcome: Sendable {
  public var seed: UInt64
  /// Stands for all that happened; equal for equal plans and seeds.
  public var hash: UInt64
  /// Events that reached nodes.
  public var events: Int
  /// The first broken promise; the run ended there.
  public var violation: Violation?
  /// In scenario mode: the expectations.
  public var verdicts: [Verdict]
  /// While the client of the first VIP had no answer, from the start of the story.
  public var unanswered: Duration
  public var longestOutage: Duration
  /// The longest that two owners heard each other, and that a healthy node saw none.
  public var longestTwoOwners: Duration
  public var longestVacancy: Duration
  /// Moves that ended with another owner, and with a refusal.
  public var moves: Int
  public var refusals: Int

  init<Plane>(_ world: inout World<Plane>) {
    seed = world.seed
    hash = world.trace.hash
    events = world.trace.events
    violation = world.violation
    let client = world.clients.first
    unanswered = .nanoseconds(client?.unanswered ?? 0)
    longestOutage = .nanoseconds(client?.longest ?? 0)
    longestTwoOwners = .nanoseconds(world.owners.longest)
    longestVacancy = .nanoseconds(world.vacancies.longest)
    moves = world.movements.moved
    refusals = world.movements.refused
    verdicts = []
    if case .scenario(let scenario) = world.plan.story, world.violation == nil {
      world.witness.finish(at: world.end)
      verdicts = scenario.judge(world.witness.observations(from: world.storyBegan, gaps: client?.gaps ?? []))
    }
  }
}

extension Plan {
  /// The command that runs a seed again.
  func again(seed: UInt64) -> String {
    let off = Protection.allCases.filter(without.contains).map { " --without \($0.rawValue)" }.joined()
    switch story {
    case .scenario(let scenario): return "roost simulate --scenario \(scenario.name) --seed \(seed)" + off
    case .chaos(let chaos):
      let vips = settings.first?.vips.count ?? 0
      // Whole: VRRP counts its intervals in 10 ms.
      let interval = interval / 1_000_000
      let faults = chaos.kinds.map(\.rawValue).joined(separator: ",")
      return "roost simulate --seed \(seed) --nodes \(settings.count) --vips \(vips) --interval \(interval)ms "
        + "--duration \(duration.nanoseconds / 1_000_000_000)s"
        + (chaos.kinds == Chaos.Kind.allCases ? "" : " --faults \(faults)") + off
    }
  }
}

/// Virtual time as seconds with microseconds.
func seconds(_ nanoseconds: Int64) -> String {
  let micros = max(0, nanoseconds) / 1000
  let fraction = String(micros % 1_000_000)
  return "\(micros / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
}
