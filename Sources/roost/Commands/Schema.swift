import ArgumentParser
import Configuration

struct Schema: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the JSON Schema of the configuration.",
    discussion: "Editors that speak YAML use it to complete and to check: point yaml.schemas at the output.")

  func run() { print(Configuration.schema) }
}
