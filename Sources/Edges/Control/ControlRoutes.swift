/// Which handler a request is for: paths such as `/vips/{vip}/move`, with a handler a method.
///
/// A path that no route has is answered with 404; one that has no handler for the method, with 405 and the methods that it has.
public struct ControlRoutes: Sendable {
  private struct Route: Sendable {
    var pattern: [Substring]
    var handlers: [(method: String, handler: ControlServer.Handler)]
  }

  private var routes: [Route] = []

  public init() {}

  /// - Parameter path: begins with a slash; a part in braces matches anything but a slash, and is found in the request's `parameters`.
  public mutating func on(_ method: String, _ path: String, _ handler: @escaping ControlServer.Handler) {
    let pattern = ControlRoutes.parts(path)
    if let index = routes.firstIndex(where: { $0.pattern == pattern }) {
      routes[index].handlers.append((method, handler))
    } else {
      routes.append(Route(pattern: pattern, handlers: [(method, handler)]))
    }
  }

  /// To be given to `ControlServer`. Of several routes that match, the first that was added is taken.
  public func handle(_ request: ControlRequest, _ answer: @escaping ControlServer.Answer) {
    let parts = ControlRoutes.parts(request.path)
    for route in routes {
      guard let parameters = ControlRoutes.match(route.pattern, parts) else { continue }
      guard let handler = route.handlers.first(where: { $0.method == request.method })?.handler else {
        let allowed = route.handlers.map(\.method).joined(separator: ", ")
        var response = ControlResponse.error(405, "\(request.path) does not know \(request.method), only \(allowed)")
        response.fields.append(ControlResponse.Field(name: "Allow", value: allowed))
        return answer(response)
      }
      var request = request
      request.parameters = parameters
      return handler(request, answer)
    }
    answer(.error(404, "there is nothing at \(request.path)"))
  }

  private static func parts(_ path: String) -> [Substring] {
    path.split(separator: "/", omittingEmptySubsequences: false)
  }

  private static func match(_ pattern: [Substring], _ parts: [Substring]) -> [String: String]? {
    guard pattern.count == parts.count else { return nil }
    var parameters: [String: String] = [:]
    for (expected, part) in zip(pattern, parts) {
      if expected.hasPrefix("{"), expected.hasSuffix("}") {
        guard !part.isEmpty else { return nil }
        parameters[String(expected.dropFirst().dropLast())] = String(part)
      } else if expected != part {
        return nil
      }
    }
    return parameters
  }
}
