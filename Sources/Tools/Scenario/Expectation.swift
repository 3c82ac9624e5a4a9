/// What must hold when the story is told.
public struct Expectation: Sendable, Hashable {
  public var claim: Claim
  /// The words of the file, for a report.
  public var text: String
  /// Where it stands in the file, from 1; 0 where there is no file.
  public var line: Int

  public init(_ claim: Claim, text: String, line: Int = 0) {
    self.claim = claim
    self.text = text
    self.line = line
  }
}

public enum Claim: Sendable, Hashable {
  /// `owner lb2 within 1s of node-dead`: by then the VIP is on that node and on no other that it can reach.
  case owner(Selector, within: Span, of: Moment)
  /// `one owner at end`.
  case oneOwnerAtEnd
  /// `owner lb1 at end`.
  case ownerAtEnd(Selector)
  /// `outage below 330ms of node-dead`: the longest time without an answer to the client, from that step to the next.
  case outage(below: Span, of: Moment)
  /// `never two owners for longer than 500ms`: nodes that reach each other both ways.
  case twoOwners(atMost: Span)
  /// `no address on lb1 within 20ms of stop`.
  case noAddress(on: Selector, within: Span, of: Moment)
  /// `backend app1 down within 1s of backend-kill`: the owner says so.
  case backend(Int, isUp: Bool, within: Span, of: Moment)
  /// `no connection broken`, or `no connection broken of stall`.
  case noConnectionBroken(of: Moment?)
  /// `failed requests below 3 of backend-kill`.
  case failedRequests(below: Int, of: Moment)
  /// `no connection fails of move`: every attempt to connect succeeds, however late.
  case noConnectionFails(of: Moment)
  /// `nobody owns for longer than 2ms`, or `… of move`: the longest time in which the VIP is on no node.
  case nobody(atMost: Span, of: Moment?)
  /// `same owner of reload`: until the next step the VIP is on no node that it wasn't on before, and on that one again by then.
  case sameOwner(of: Moment)
  /// `quiet of reload`: no advert and no announcement of a VIP that didn't change comes out of turn.
  case quiet(of: Moment)
}

/// The steps that an expectation speaks of: every one that fits.
public enum Moment: Sendable, Hashable {
  /// Any step that breaks something.
  case fault
  /// The steps with that word, such as `node-dead` or `heal`.
  case action(String)

  public func fits(_ action: Action) -> Bool {
    switch self {
    case .fault: action.isFault
    case .action(let word): action.word == word
    }
  }
}

/// A length of time that may count the interval between adverts, so that a file holds for fast and slow timers alike:
/// `3 intervals + 30ms`.
public struct Span: Sendable, Hashable {
  public var fixed: Duration
  public var intervals: Double

  public init(_ fixed: Duration = .zero, intervals: Double = 0) {
    self.fixed = fixed
    self.intervals = intervals
  }

  public func duration(interval: Duration) -> Duration { fixed + interval * intervals }
}

extension Scenario {
  /// The steps of a moment, as indices into `steps`.
  public func steps(of moment: Moment) -> [Int] { steps.indices.filter { moment.fits(steps[$0].action) } }

  /// From a step to the next one that comes later, or to the end.
  public func window(of step: Int) -> Range<Duration> {
    let start = steps[step].at
    let next = steps[step...].first { $0.at > start }?.at ?? end
    return start..<max(start, next)
  }
}

extension Scenario {
  /// The same story with every bound in time moved out by `slack`: for a machine whose other work is not ours to judge.
  public func loosened(by slack: Duration) -> Scenario {
    var scenario = self
    for index in scenario.expectations.indices {
      scenario.expectations[index].claim = scenario.expectations[index].claim.loosened(by: slack)
      if scenario.expectations[index].claim != expectations[index].claim {
        scenario.expectations[index].text += " (with \(slack) of slack)"
      }
    }
    return scenario
  }
}

extension Claim {
  fileprivate func loosened(by slack: Duration) -> Claim {
    func loose(_ span: Span) -> Span { Span(span.fixed + slack, intervals: span.intervals) }
    return switch self {
    case .owner(let who, let within, let moment): .owner(who, within: loose(within), of: moment)
    case .outage(let below, let moment): .outage(below: loose(below), of: moment)
    case .twoOwners(let longest): .twoOwners(atMost: loose(longest))
    case .noAddress(let who, let within, let moment): .noAddress(on: who, within: loose(within), of: moment)
    case .backend(let index, let isUp, let within, let moment):
      .backend(index, isUp: isUp, within: loose(within), of: moment)
    case .nobody(let longest, let moment): .nobody(atMost: loose(longest), of: moment)
    case .oneOwnerAtEnd, .ownerAtEnd, .noConnectionBroken, .failedRequests, .noConnectionFails, .sameOwner, .quiet: self
    }
  }
}
