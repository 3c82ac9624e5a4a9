import Node

/// Who is told, and how.
public struct NotificationTarget: Sendable, Hashable {
  public var name: String
  public var action: Action
  /// Of what it is told (`Occurrence.Kind`); empty: of everything.
  public var kinds: Set<String>
  /// How long one attempt may take.
  public var timeout: Duration

  public init(name: String, action: Action, kinds: Set<String> = [], timeout: Duration = .seconds(10)) {
    self.name = name
    self.action = action
    self.kinds = kinds
    self.timeout = timeout
  }

  public enum Action: Sendable, Hashable {
    /// The program's absolute path and its arguments. It reads the JSON from its standard input; an exit code of 0 says that it is told.
    case command([String])
    /// A POST of the JSON. Any status from 200 to 299 says that it is told.
    case webhook(Webhook)
  }

  /// Where a POST goes, without TLS.
  public struct Webhook: Sendable, Hashable {
    /// A name or an address, without brackets.
    public var host: String
    public var port: UInt16
    /// Path and query.
    public var target: String
    /// The value of the Authorization header.
    public var authorization: String?

    public init(host: String, port: UInt16, target: String, authorization: String? = nil) {
      self.host = host
      self.port = port
      self.target = target
      self.authorization = authorization
    }
  }
}

/// How hard a notifier tries. The defaults are for use; tests have others.
public struct NotifyLimits: Sendable, Hashable {
  /// What may wait for one target; further events are dropped, counted and told of.
  public var waiting = 1000
  /// Attempts to tell one event, the first included: about four minutes with the pauses below.
  public var attempts = 9
  /// Before the second attempt; doubles up to `longestPause`.
  public var pause = Duration.seconds(1)
  public var longestPause = Duration.seconds(60)

  public init() {}
}

/// What a person should know of the notifier, in words.
public struct NotifyTrouble: Sendable, Hashable {
  public var target: String
  public var text: String
}

/// How one attempt ended.
enum Delivery: Sendable, Hashable {
  case told
  /// May work later, in words.
  case failed(String)
  /// Will not work however often, in words.
  case refused(String)
}
