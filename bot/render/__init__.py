"""Raw values -> what people see: text, pictures, files."""
