extension Shape {
  /// Keywords of JSON Schema (2020-12) that say the same.
  var schema: [(String, JSON)] {
    switch self {
    case .scalar(let kind): return kind.schema
    case .oneOrMany(let kind, let most):
      return [("anyOf", .array([.object(kind.schema), .object(Shape.list(kind, most: most).schema)]))]
    case .list(let kind, let most):
      return [
        ("type", .string("array")), ("items", .object(kind.schema)), ("minItems", .number(1)),
        ("maxItems", .number(most)),
      ]
    case .keys(_, let keys):
      let known = keys.filter { !$0.isLater }
      var keywords: [(String, JSON)] = [
        ("type", .string("object")), ("properties", .object(known.map { ($0.name, $0.schema) })),
        ("additionalProperties", .bool(false)),
      ]
      let required = known.filter(\.isRequired).map { JSON.string($0.name) }
      if !required.isEmpty { keywords.append(("required", .array(required))) }
      return keywords
    case .names(let what, let shape, let most):
      return [
        ("type", .string("object")), ("propertyNames", .object(ScalarKind.name(of: what).schema)),
        ("additionalProperties", .object(shape.schema)), ("minProperties", .number(1)),
        ("maxProperties", .number(most)),
      ]
    case .numbers(_, let range, let shape, let most):
      // Names in JSON are texts, so that a pattern is all that a schema can say of them: digits, as many as the largest has.
      let digits = "\(range.upperBound)".count
      return [
        ("type", .string("object")),
        ("propertyNames", .object([("pattern", .string("^[1-9][0-9]{0,\(digits - 1)}$"))])),
        ("additionalProperties", .object(shape.schema)), ("minProperties", .number(1)),
        ("maxProperties", .number(most)),
      ]
    case .short(let kind, let most, let long):
      let list = most > 1 ? [JSON.object(Shape.list(kind, most: most).schema)] : []
      return [("anyOf", .array([.object(kind.schema)] + list + [.object(long.schema)]))]
    }
  }
}

extension Key {
  var schema: JSON {
    var keywords: [(String, JSON)] = [("description", .string(documentation))]
    if let `default` { keywords.append(("default", `default`)) }
    return .object(keywords + shape.schema)
  }
}

extension Configuration {
  /// A JSON Schema (2020-12) of the file: what `roost schema` prints, and what an editor completes and checks with.
  ///
  /// It says of the form of the file what `read` says of it. What needs a view of several values at once (an address used
  /// twice, a name that is not defined) only `read` can say.
  public static var schema: String {
    JSON.object(
      [
        ("$schema", .string("https://json-schema.org/draft/2020-12/schema")),
        ("title", .string("Roost configuration")),
        ("description", .string("Virtual IP addresses, the nodes that may own them, and the services behind them.")),
      ] + Grammar.file.schema
    ).text
  }
}
