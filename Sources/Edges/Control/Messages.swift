import FoundationEssentials
import Glibc
import HTTP1

/// Who is at the other end of the socket, as the kernel saw it when it connected (SO_PEERCRED).
public struct PeerCredentials: Sendable, Hashable {
  public var process: pid_t
  public var user: uid_t
  public var group: gid_t

  public init(process: pid_t, user: uid_t, group: gid_t) {
    self.process = process
    self.user = user
    self.group = group
  }
}

/// What a client asks of the daemon.
public struct ControlRequest: Sendable, Hashable {
  public var method: String
  /// Decoded, without the query, beginning with a slash.
  public var path: String
  /// What lies behind the `?`, decoded, in its order.
  public var query: [QueryItem]
  public var body: [UInt8]
  public var peer: PeerCredentials
  /// What the `{name}` parts of a route matched; filled by `ControlRoutes`.
  public var parameters: [String: String] = [:]

  public struct QueryItem: Sendable, Hashable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  public init(
    method: String, path: String, query: [QueryItem] = [], body: [UInt8] = [],
    peer: PeerCredentials = PeerCredentials(process: 0, user: 0, group: 0)
  ) {
    self.method = method
    self.path = path
    self.query = query
    self.body = body
    self.peer = peer
  }

  /// The first value of that name in the query.
  public func query(_ name: String) -> String? { query.first { $0.name == name }?.value }
}

/// What the daemon answers. The body is JSON.
public struct ControlResponse: Sendable, Hashable {
  public var status: Int
  public var body: [UInt8]
  /// For `Allow` and the like; names and values must be what HTTP allows.
  public var fields: [Field]

  public struct Field: Sendable, Hashable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  public init(status: Int = 200, body: [UInt8] = Array("{}\n".utf8), fields: [Field] = []) {
    self.status = status
    self.body = body
    self.fields = fields
  }

  /// A value as JSON, with its keys in alphabetical order, so that two answers can be compared.
  public init(status: Int = 200, encoding value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      self.init(status: status, body: Array(try encoder.encode(value)) + [0x0A])
    } catch {
      self = .error(500, "the answer cannot be written as JSON: \(error)")
    }
  }

  /// `{"error": "…"}`
  public static func error(_ status: Int, _ message: String) -> ControlResponse {
    ControlResponse(status: status, encoding: ["error": message])
  }

  public var isSuccess: Bool { (200...299).contains(status) }

  /// The text of an error answer, if that is what this is.
  public var errorMessage: String? {
    guard !isSuccess else { return nil }
    let fields = try? JSONDecoder().decode([String: String].self, from: Data(body))
    return fields?["error"] ?? "\(status) \(standardReason(of: status))"
  }
}
