import Simulator
import Testing

/// Renewal, revocation, expiry, removal by another program and put-back, in every order that there is.
struct InterleavingTests {
  @Test func `no order of steps leaves an address where nobody owns it, or sends for an ownership that is over`() {
    let all = Interleavings()
    #expect(all.failure == nil, "\(all.failure?.what ?? ""): \(all.failure?.steps.joined(separator: "; ") ?? "")")
    // As many as there are: fewer would mean that steps were left out.
    #expect(all.states > 10_000 && all.transitions > 2 * all.states, "\(all.states) states, \(all.transitions) steps")
  }

  @Test(arguments: Interleavings.Weakness.allCases)
  func `without a part of the fence an order is found that breaks it`(weakness: Interleavings.Weakness) throws {
    let failure = try #require(Interleavings(without: [weakness]).failure)
    // Found breadth first: the story is short enough to be read.
    #expect(1...12 ~= failure.steps.count, "\(failure.steps)")
  }
}
