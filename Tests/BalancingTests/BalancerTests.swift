import Basis
import Testing
import Wire

@testable import Balancing

private func balancer(_ policy: Balancer.Policy, weights: [Int], seed: UInt64 = 0) -> Balancer {
  Balancer(
    policy, backends: weights.enumerated().map { .init(key: stableDigest(of: "app\($0)"), weight: $1) }, seed: seed)
}

private func client(_ number: Int) -> UInt64 {
  stableDigest(of: .v4(IPv4Address(rawValue: 0x0A00_0000 + UInt32(number))))
}

struct BalancerTests {
  @Test func `Round-robin interleaves in proportion to the weights`() {
    var turns = balancer(.roundRobin, weights: [5, 1, 1])
    let picks = (0..<7).compactMap { _ in turns.pick(source: 0) }
    #expect(picks == [0, 0, 1, 0, 2, 0, 0])
  }

  @Test func `Round-robin with equal weights goes round, from where the seed says`() {
    var turns = balancer(.roundRobin, weights: [1, 1, 1], seed: 1)
    #expect((0..<6).compactMap { _ in turns.pick(source: 0) } == [1, 2, 0, 1, 2, 0])
  }

  @Test func `A backend that comes back is not paid for the time it was away`() {
    var turns = balancer(.roundRobin, weights: [1, 1])
    turns.set(0, usable: false, weight: 1)
    for _ in 0..<100 { #expect(turns.pick(source: 0) == 1) }
    turns.set(0, usable: true, weight: 1)
    let picks = (0..<10).compactMap { _ in turns.pick(source: 0) }
    #expect(picks.filter { $0 == 0 }.count == 5)
  }

  @Test func `Least connections fills backends in proportion to their weights`() {
    var loads = balancer(.leastConnections, weights: [3, 1, 2])
    for _ in 0..<600 {
      guard let chosen = loads.pick(source: 0) else { Issue.record("nothing picked"); return }
      loads.began(chosen)
    }
    #expect((0..<3).map { loads.connections(of: $0) } == [300, 100, 200])
  }

  @Test func `Least connections gives a freed place to the backend that has it`() {
    var loads = balancer(.leastConnections, weights: [1, 1, 1])
    for index in [0, 0, 1, 1, 2, 2] { loads.began(index) }
    loads.ended(1)
    #expect(loads.pick(source: 0) == 1)
  }

  @Test func `Least connections lets equals take turns, so that short connections do not all meet the first`() {
    var loads = balancer(.leastConnections, weights: [1, 1, 1])
    var picks: [Int] = []
    for _ in 0..<6 {
      guard let chosen = loads.pick(source: 0) else { continue }
      loads.began(chosen)
      loads.ended(chosen)
      picks.append(chosen)
    }
    #expect(picks == [0, 1, 2, 0, 1, 2])
  }

  @Test func `Random is in proportion to the weights, and the same for the same seed`() {
    var first = balancer(.random, weights: [1, 3], seed: 7)
    var second = balancer(.random, weights: [1, 3], seed: 7)
    let picks = (0..<10_000).compactMap { _ in first.pick(source: 0) }
    #expect(picks == (0..<10_000).compactMap { _ in second.pick(source: 0) })
    #expect((7_200...7_800).contains(picks.filter { $0 == 1 }.count))
  }

  @Test func `Source-hash keeps a client with its backend, in proportion to the weights`() {
    var hashed = balancer(.sourceHash, weights: [1, 2, 1])
    let picks = (0..<8_000).compactMap { hashed.pick(source: client($0)) }
    #expect(picks == (0..<8_000).compactMap { hashed.pick(source: client($0)) })
    #expect((3_800...4_200).contains(picks.filter { $0 == 1 }.count))
  }

  @Test func `With source-hash, a backend that goes away moves only its own clients`() {
    var hashed = balancer(.sourceHash, weights: [1, 1, 1, 1])
    let before = (0..<4_000).compactMap { hashed.pick(source: client($0)) }
    hashed.set(2, usable: false, weight: 1)
    let without = (0..<4_000).compactMap { hashed.pick(source: client($0)) }
    for (old, new) in zip(before, without) { #expect(old == 2 ? new != 2 : new == old) }
    hashed.set(2, usable: true, weight: 1)
    #expect((0..<4_000).compactMap { hashed.pick(source: client($0)) } == before)
  }

  @Test func `Source-hash knows backends by name: their order plays no part`() {
    let names = ["a", "b", "c"]
    var forwards = Balancer(.sourceHash, backends: names.map { .init(key: stableDigest(of: $0), weight: 1) }, seed: 1)
    var backwards = Balancer(
      .sourceHash, backends: names.reversed().map { .init(key: stableDigest(of: $0), weight: 1) }, seed: 2)
    for number in 0..<200 {
      #expect(forwards.pick(source: client(number)) == backwards.pick(source: client(number)).map { 2 - $0 })
    }
  }

  @Test(arguments: Balancer.Policy.allCases)
  func `Nobody picks a backend that is tried, unusable or of no weight`(policy: Balancer.Policy) {
    var any = balancer(policy, weights: [1, 1, 0, 1])
    any.set(1, usable: false, weight: 1)
    for number in 0..<50 { #expect(any.pick(source: client(number), excluding: .init(0)) == 3) }
    #expect(any.pick(source: 0, excluding: .init(0, 3)) == nil)
    var none = balancer(policy, weights: [])
    #expect(none.pick(source: 0) == nil)
  }

  @Test(arguments: Balancer.Policy.allCases)
  func `Absurd weights are held to what sums can carry`(policy: Balancer.Policy) {
    var any = balancer(policy, weights: [.max, .min, -1, Int(Int32.max)])
    for number in 0..<100 {
      guard let chosen = any.pick(source: client(number)) else { Issue.record("nothing picked"); return }
      #expect(chosen == 0 || chosen == 3)
      any.began(chosen)
    }
  }

  @Test func `The logarithm is good to twelve digits`() {
    let known: [(Double, Double)] = [
      (1, 0), (2, 0.693_147_180_559_945_3), (0.5, -0.693_147_180_559_945_3), (10, 2.302_585_092_994_045_7),
      (0.001, -6.907_755_278_982_137), (1.414, 0.346_422_567_473_438_7), (0x1p-54, -37.429_947_750_237_05),
    ]
    for (x, logarithm) in known { #expect(abs(naturalLogarithm(x) - logarithm) < 1e-12 * max(1, abs(logarithm))) }
  }

  @Test func `The names of policies are the configuration's words`() {
    #expect(Balancer.Policy.allCases.map(\.rawValue) == ["round-robin", "least-connections", "random", "source-hash"])
    #expect(Balancer.Policy.standard == .leastConnections)
  }
}
