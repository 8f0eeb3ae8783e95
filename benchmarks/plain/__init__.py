"""The questions as an analyst would write them: pandas, scikit-learn, mlxtend and scipy.

They know nothing of Daybreak. Each reads only the columns and days that it needs.
"""
