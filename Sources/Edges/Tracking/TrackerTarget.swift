import Prober
import Wire

/// What a tracker watches outside of the control plane, and how often.
public struct TrackerTarget: Sendable, Hashable {
  /// From the start of one look to the start of the next.
  public var every: Duration
  /// By then a command, or a check, has to have ended.
  public var timeout: Duration
  public var source: Source

  public enum Source: Sendable, Hashable {
    /// Nothing outside: a VIP, a service, or an empty place.
    case none
    /// It is there, up, and sees a carrier. Changes are seen at once.
    case interface(String)
    /// A routing table has a route to exactly this prefix; nil: the main table. Changes are seen at once.
    case route(Prefix, table: UInt32?)
    case file(path: String, FileCondition)
    /// A program of that name runs: the kernel's name of it (15 bytes), or the last part of its first argument. Its end is seen at once.
    case process(String)
    /// It exits with 0. Run without a shell.
    /// - Parameter user: nil: nobody, where this process may choose.
    case command([String], user: String?)
    case check(CheckTarget)
  }

  public enum FileCondition: Sendable, Hashable {
    case exists
    /// Its first line, without the line's end, is this text.
    case firstLine(String)
    /// Its first line is a whole number in this range.
    case number(ClosedRange<Int64>)
  }

  public init(_ source: Source, every: Duration = .seconds(1), timeout: Duration = .seconds(1)) {
    self.source = source
    self.every = every
    self.timeout = timeout
  }

  /// Shorter ones would keep a processor busy.
  static let shortest = Duration.milliseconds(10)
}
