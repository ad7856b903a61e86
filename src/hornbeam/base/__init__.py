"""Floor 0: dtypes, specs, trees and weak maps. Knows nothing of what is computed."""
